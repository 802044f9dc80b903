"""The study: does iterating the flow improve classification? ``protocol`` says what is run, ``training`` and
``evaluation`` run it, ``report`` writes records, table and picture."""
