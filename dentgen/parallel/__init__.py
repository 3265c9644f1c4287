"""Work spread over processes of this machine or nodes of a Ray cluster."""
