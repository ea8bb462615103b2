"""What deploy/check-image is made of."""
