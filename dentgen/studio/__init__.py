"""The semantic palette in a browser: paint condition maps, and see pictures stream beside them."""
