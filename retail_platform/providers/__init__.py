"""What comes from outside the shop: exchange rates, country facts, weather.

Every provider gives a `Provided`: live where a client is given and its answer holds, else what is packaged, with the
reason. Add a provider as a module that asks through `client.py` and judges the answer in the function that parses it.
What is made of the data is in `transforms/`; no Dagster, no clock and no settings here: they are passed in.
"""
