"""Jobs of the quality database, done beside the line at low priority: each in a process of its own.

worker ──takes a job──▶ child ──stage, curve, log, result as JSON lines──▶ worker ──▶ database
   └──renews the lease, hears of a wish to cancel──▶ ends the child
"""
