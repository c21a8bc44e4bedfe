"""The monitor: pages for operators and auditors. One sampler looks at the servers for all browsers; what acts asks who."""
