"""Delivery of messages (spec 05).

The text of a message is in :mod:`~mensagod.delivery.envelopes`, :mod:`~mensagod.delivery.tags` and
:mod:`~mensagod.delivery.labels`; :mod:`~mensagod.delivery.acceptance` tells what a client may send. For how
messages are delivered begin with :mod:`~mensagod.delivery.service`.
"""
