"""Model bundles: loading, text, autoencoder, control nets and adapters, and the embedded miniature."""
