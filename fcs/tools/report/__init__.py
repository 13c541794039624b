"""Reports of runs, for people: summaries, tables in a terminal or in Markdown, and a self-contained HTML page.

``write_report`` is the entry. It reads what runs have committed (``finished_run``), adds distances between sets of
pictures (``distributions``) and renders the page (``html_page``). The page's sections are computed by one module each
and know nothing of HTML: ``run_facts`` (settings and hardware), ``score_table`` (means, intervals, paired differences
from ``score_statistics``), ``set_scores`` (FID, KID, energy scores), ``record_selection`` (which records are shown),
``record_pictures`` and ``record_cards`` (their pictures and text), ``failure_codes``, ``residual_curve`` and
``throughput``. ``charts`` computes where the parts of a figure lie; templates in ``html/`` draw them.
"""
