"""LoRAs: their files, what they change in a network, and how strongly at each step."""
