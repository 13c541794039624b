"""faces-64: cartoon faces whose attributes are drawn independently, and the model that is trained on them."""
