"""The databases that a store can be in; what differs between them is here and nowhere else.

One module each, with the same functions (`base.Backend`): `sqlite`, `mysql`, `postgresql`.
"""
