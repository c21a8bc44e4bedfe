"""How the page on the contract looks: for a phone first, light or dark as the reader's system is."""

from typing import Final

STYLE: Final = """\
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --quiet: #666; }
@media (prefers-color-scheme: dark) { :root { --quiet: #aaa; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 64rem; overflow-wrap: anywhere;
  font: 1rem/1.55 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; }
h1, h2, h3 { line-height: 1.3; }
section { border-top: 1px solid var(--line); margin-top: 1.5rem; }
code, pre { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .9em; background: var(--soft); border-radius: .2em; }
code { padding: .1em .25em; }
pre { padding: .75em; overflow-x: auto; overflow-wrap: normal; }
[lang="en"], .small { color: var(--quiet); }
.small { font-size: .85em; }
.operation { border-left: .25rem solid var(--line); padding-left: .75rem; }
b { color: #c33; padding-left: .15em; }
ul { padding-left: 1.2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { display: block; text-align: left; vertical-align: top; font-weight: normal; }
tr { display: block; border-top: 1px solid var(--line); padding: .4rem 0; }
td p { margin: 0; }
summary { cursor: pointer; }
@media (min-width: 48rem) {
  tr { display: table-row; }
  th, td { display: table-cell; padding: .35rem .5rem .35rem 0; }
  .fields th { width: 34%; }
  .fields td { width: 33%; }
}
"""
