"""What a step minimises: a loss over labelled samples, or a differential equation's residual."""
