"""A Mensago client on Twisted.

:func:`mensagod.client.connection.connect` gives a connection; the commands are functions that take it as
their first argument, one module a family: :mod:`~mensagod.client.control`, :mod:`~mensagod.client.accounts`,
:mod:`~mensagod.client.login`, :mod:`~mensagod.client.lookups`, :mod:`~mensagod.client.identity`,
:mod:`~mensagod.client.files`, :mod:`~mensagod.client.updates` and :mod:`~mensagod.client.sending`.
"""
