"""The leaderboard: records in, statistics, and the same board as table, JSON, Markdown, CSV and page.

Nothing here imports torch or mlflow: a board is a function of a plan and the records alone.
"""
