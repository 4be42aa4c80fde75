"""Whatever is frozen is computed once: extraction, backends and the feature store."""
