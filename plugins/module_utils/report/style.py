# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The style sheet of report.html: system fonts, light and dark, fit for print."""
from __future__ import annotations

CSS = """
:root{--page:#f6f7f9;--sheet:#fff;--ink:#1c2128;--soft:#59636e;--line:#dfe3e8;--before:#aab4c0;--after:#1f6feb;--free:#1a7f4b;
--over:#c9372c;--track:#eceff3;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--page:#111418;--sheet:#1a1f25;--ink:#e3e8ee;--soft:#97a3b0;--line:#2d343d;
--before:#66727f;--after:#58a0ff;--free:#4cc38a;--over:#ff7b6b;--track:#262d35}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1280px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:18px;margin:34px 0 6px}
p{margin:4px 0 12px}
.soft,caption{color:var(--soft)}
.status{display:inline-block;padding:2px 10px;border-radius:12px;border:1px solid;font-size:13px;font-weight:600}
.good{color:var(--free)}.bad{color:var(--over)}.plain{color:var(--after)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;margin:20px 0 8px}
.card{background:var(--sheet);border:1px solid var(--line);border-radius:10px;padding:12px 16px}
.card b{display:block;font-size:26px;line-height:1.25;font-weight:650;letter-spacing:-.01em}
.card span{color:var(--soft);font-size:13px}
.sheet{background:var(--sheet);border:1px solid var(--line);border-radius:10px;overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:600;font-size:12.5px;color:var(--soft);white-space:nowrap}
th,td{padding:7px 12px;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child td{border-bottom:0}
td.n,th.n{text-align:right;white-space:nowrap}
td.name{white-space:nowrap;font-weight:600}
td small{display:block;color:var(--soft);font-weight:400;font-size:12px}
td.bar{min-width:104px;white-space:nowrap}
svg{display:block;width:100%;height:15px;margin:3px 0 2px}
svg .t{fill:var(--track)}svg .b{fill:var(--before)}svg .a{fill:var(--after)}svg .x{fill:var(--over)}
tr.freed{background:color-mix(in srgb,var(--free) 9%,transparent)}
.tag{display:inline-block;padding:0 7px;border-radius:9px;font-size:11.5px;font-weight:600;border:1px solid var(--line);
color:var(--soft);margin-left:6px}
.tag.good{border-color:var(--free);color:var(--free)}.tag.bad{border-color:var(--over);color:var(--over)}
.key{display:flex;gap:18px;flex-wrap:wrap;font-size:13px;color:var(--soft);margin:0 0 8px}
.key i{display:inline-block;width:22px;height:7px;border-radius:2px;margin-right:6px;vertical-align:1px}
details{margin:10px 0 0}
summary{cursor:pointer;padding:8px 12px;color:var(--after);font-weight:600;font-size:14px}
.alarm{border-color:var(--over)}
code{font-size:12.5px;overflow-wrap:anywhere}
.mono{font-size:13px}
@media print{body{background:#fff}.sheet,.card{break-inside:avoid}details{display:none}}
@media (max-width:640px){main{padding:18px 10px}th,td{padding:6px 8px}}
"""
