"""What the targets of the web share: engines from npm, a local server, a headless Chromium, and a page that runs models.

engines.py    the engine's files, from npm into edgewise's cache, once and on request   (npm.py)
server.py     serves them, the client and one model to localhost alone
chromium.py   starts the system's Chromium; Playwright drives it
session.py    one page per session: `run` here is a call there
"""
