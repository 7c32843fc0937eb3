"""The claims of a paper, and what the manifests of a build folder say of each."""
