"""Federated rounds of LoRA adapters on Flower."""
