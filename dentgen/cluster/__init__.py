"""Builds on Kubernetes: manifests for a build spec, made of the files in ``cluster/kuberay/``."""
