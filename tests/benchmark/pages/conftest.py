"""Results with their page, made once."""

import pytest

from tests.benchmark.pages.made_pages import write_board_page


@pytest.fixture(scope="session")
def board_folder(tmp_path_factory, built):
    """A folder with ``results`` and ``pages/leaderboard.html``; tests must not change it."""
    root = tmp_path_factory.mktemp("board")
    write_board_page(root, *built)
    return root
