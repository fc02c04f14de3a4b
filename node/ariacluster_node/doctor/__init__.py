"""What is wrong with this machine, and what to do about it. Like `main`, it may name every adapter; it changes nothing.

Each room looks at one thing in two steps: facts are gathered, and a pure function judges them. `examination` puts them in
order and holds them to their time.
"""
