"""Where the market comes from: made up, recorded, scripted or relayed."""
