"""Ray casting against triangle meshes, with Embree or with a grid."""
