"""What is measured on a trained model: representation, specialization, latency, and what stands beside."""
