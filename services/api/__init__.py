"""The HTTP API: ledgers for those who read, queues for those who look after them, and a door for events. It decides nothing."""
