"""Model bundles: loading, text encoder, autoencoder, control nets and adapters, and the embedded miniature."""
