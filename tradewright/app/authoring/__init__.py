"""Help for authors of presets: projects, templates, explanations, trials on candles."""
