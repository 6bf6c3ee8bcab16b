"""`harness history`: what it shows, skips, and says where nothing matches."""


def test_history_shows_every_series_and_names_what_it_skips(recorded, harness_main, tmp_path):
    (tmp_path / "broken.json").write_text("{")
    ended = harness_main("history", tmp_path, "--metric", "training_peak_bytes", "--database", ":memory:")
    assert ended.status == 0
    assert ended.out.count("training_peak_bytes") == 2
    assert "skipped broken.json" in ended.out
    assert harness_main("history", tmp_path, "--metric", "nonsense").status == 2
    assert harness_main("history", tmp_path / "nowhere").status == 2


def test_history_says_what_there_is_where_nothing_matches(recorded, harness_main, tmp_path):
    def history(*options):
        return harness_main("history", tmp_path, "--database", ":memory:", *options)

    ended = history("--workload", "mlp-minst")
    assert (ended.status, ended.out) == (2, "")
    assert "unknown workload 'mlp-minst'; there is: mlp-mnist, cnv-cifar10" in ended.err
    ended = history("--workload", "cnv-svhn")
    assert (ended.status, "documents: 1 new" in ended.out) == (0, True)
    assert (
        ended.err == f"harness: no document in '{tmp_path}' is of workload 'cnv-svhn'; there is: mlp-mnist\n"
    )
    ended = history("--workload", "mlp-mnist", "--metric", "net_j_per_step")
    assert ended.status == 0
    assert "of workload 'mlp-mnist' has metric 'net_j_per_step'; there is: modelled_bytes" in ended.err
    assert history().err == ""


def test_history_of_a_folder_without_documents_says_so(harness_main, tmp_path):
    ended = harness_main("history", tmp_path, "--database", ":memory:")
    assert (ended.status, "holds anything measured" in ended.err) == (0, True)


def test_a_document_s_own_workload_is_known_though_this_program_has_it_no_longer(
    recorded, harness_main, tmp_path
):
    recorded.write_text(recorded.read_text().replace("mlp-mnist", "mlp-of-old"))
    ended = harness_main("history", tmp_path, "--workload", "mlp-of-old", "--database", ":memory:")
    assert (ended.status, ended.err, "mlp-of-old" in ended.out) == (0, "", True)
