"""Ray casting against triangle meshes, with Embree or a numpy grid."""
