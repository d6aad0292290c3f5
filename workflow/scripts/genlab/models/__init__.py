"""Networks, the models made of them, and what is asked of a trained one."""
