"""The web page of runs: what there is, how it trains, what it draws. Gradio is imported by `page` and `serve` alone."""
