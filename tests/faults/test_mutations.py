"""Planted faults: each is put into a copy of the package, where a named test must fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

#: Source file, its right text, the wrong one, and the test that notices.
FAULTS = {
    "two rows swapped": (
        "dentgen/diffusion/tick_numbers.py",
        "            branch.index[row] = place",
        "            branch.index[row] = place ^ 1",
        "tests/diffusion/test_tick_state.py::test_a_mixed_batch_equals_diffusers_one_by_one",
    ),
    "known latents at the noise of the step before": (
        "dentgen/diffusion/tick_numbers.py",
        "0.0 if last else table.noise[step + 1]",
        "0.0 if last else table.noise[step]",
        "tests/diffusion/test_engine.py::test_pictures_without_control_are_those_of_diffusers",
    ),
    "a residual that starts from the noise alone": (
        "dentgen/diffusion/tick_state.py",
        "image if canvas.table.start_signal else blank",
        "blank",
        "tests/diffusion/test_guidance.py::test_residual_guidance_equals_its_recurrence",
    ),
    "an ignored failure of a control branch": (
        "dentgen/diffusion/tick_state.py",
        "                self.broken[name] = error",
        "                del error",
        "tests/diffusion/test_engine.py::test_a_failing_branch_fails_its_canvases_only",
    ),
    "a slot that keeps diverged values": (
        "dentgen/diffusion/tick_state.py",
        "        history.zero_()",
        "        history[0].zero_()",
        "tests/diffusion/test_tick_state.py::test_a_diverged_canvas_stays_in_its_slot",
    ),
    "rows without control that take a neighbour's residuals": (
        "dentgen/diffusion/tick_state.py",
        ".masked_fill_((scale == 0).view(wide), 0)",
        "",
        "tests/diffusion/test_tick_state.py::test_a_diverged_canvas_stays_in_its_slot",
    ),
    "a history one step too old": (
        "dentgen/diffusion/tick_numbers.py",
        "    arrays.column[slot] = 1 + step",
        "    arrays.column[slot] = 1 + max(step - 1, 0)",
        "tests/diffusion/test_tick_state.py::test_a_mixed_batch_equals_diffusers_one_by_one",
    ),
    "an update that writes into a neighbour's control slot": (
        "dentgen/diffusion/slots.py",
        "        if before == after:",
        "        if True:",
        "tests/diffusion/test_layer_update.py::test_neighbours_keep_their_bits",
    ),
    "an update that keeps the old hints": (
        "dentgen/diffusion/tick_state.py",
        "        self._put_rows(flight)\n        self._put_control(flight)\n        if self._regions is not None:\n"
        "            self._regions.place_masks",
        "        self._put_rows(flight)\n        if self._regions is not None:\n            self._regions.place_masks",
        "tests/diffusion/test_layer_update.py::test_another_condition_acts_from_its_step_on",
    ),
    "maps that pictures in flight are not told of": (
        "dentgen/generation/live_edits.py",
        "            updates.append(LayerUpdate(controls=self.control.canvas.controls))\n",
        "",
        "tests/generation/test_live_edits.py::test_control_is_edited_in_the_same_order",
    ),
    "a studio that takes any token": (
        "dentgen/studio/access.py",
        '        if not secrets.compare_digest(request.query["token"].encode(), self.token.encode()):',
        "        if not self.token:",
        "tests/studio/test_access.py::test_another_token_does_not",
    ),
    "a studio that answers to names of others": (
        "dentgen/studio/access.py",
        "        if is_loopback(self.host) and not is_loopback(name):",
        "        if not name:",
        "tests/studio/test_access.py::test_names_that_others_chose_are_refused",
    ),
    "a socket for pages of other origins": (
        "dentgen/studio/access.py",
        "urlsplit(origin).netloc != request.host",
        "not urlsplit(origin).netloc",
        "tests/studio/test_access.py::test_pages_of_other_origins_get_no_socket",
    ),
    "a stored document that was changed": (
        "dentgen/studio/permalink.py",
        "    if _name(files) != name:",
        "    if not files:",
        "tests/studio/test_permalink.py::test_changed_files_are_refused",
    ),
    "a brush that leaves its tooth": (
        "dentgen/studio/strokes.py",
        "    _paint(work, stroke, mask, allowed, mirrored=False)",
        "    _paint(work, stroke, mask, None, mirrored=False)",
        "tests/studio/test_strokes.py::test_a_chosen_tooth_bounds_the_stroke",
    ),
    "a mirrored stroke with the same tooth's number": (
        "dentgen/studio/strokes.py",
        " if mirrored else brush.value",
        " if not mirrored else brush.value",
        "tests/studio/test_strokes.py::test_both_sides_get_the_opposite_tooth",
    ),
    "hidden layers that are saved as regions": (
        "dentgen/studio/work.py",
        "if layer.visible",
        "if layer",
        "tests/studio/test_work.py::test_layers_become_painted_regions_unless_hidden",
    ),
    "a browser that is sent every picture": (
        "dentgen/studio/browsers.py",
        "        self._latest[kind] = message",
        "        self._waiting.append(message)",
        "tests/studio/test_browsers.py::test_a_slow_browser_gets_every_message_and_the_latest_picture",
    ),
    "findings that are compared with other findings": (
        "dentgen/studio/seen_findings.py",
        " & ~anywhere",
        " & ~each.where",
        "tests/studio/test_seen_findings.py::test_other_findings_do_not_spoil_the_tissue_that_one_is_compared_with",
    ),
    "an update that keeps the old mask": (
        "dentgen/diffusion/tick_state.py",
        "            self._regions.place_masks(flight, self._put)",
        "            pass",
        "tests/diffusion/test_layer_update.py::test_an_update_acts_from_its_step_on",
    ),
    "a region that hides the one above it": (
        "dentgen/generation/regions.py",
        "for mask in reversed(masks):",
        "for mask in masks:",
        "tests/generation/test_regions.py::test_painted_regions_lie_below_findings_and_cover_each_other",
    ),
    "a painted region with another one's pixels": (
        "dentgen/conditions/painted.py",
        "(bits >> r) & 1",
        "(bits >> 0) & 1",
        "tests/conditions/test_painted.py::test_what_was_written_is_read",
    ),
    "a live picture with noise that no build has": (
        "dentgen/generation/live_frames.py",
        "self._noise.key(control.key, index)",
        'self._noise.key("live", index)',
        "tests/generation/test_live_frames.py::test_frames_are_the_variants_of_a_build",
    ),
    "a late edit that overtakes a later one": (
        "dentgen/generation/live_layers.py",
        " if self._edits.get(name, -1) <= number",
        "",
        "tests/generation/test_live_layers.py::test_of_each_value_the_edit_that_was_asked_for_last_counts",
    ),
    "pictures assigned to the wrong requests": (
        "dentgen/generation/decoding.py",
        "for (request, _), picture in zip(finite, pictures, strict=True)",
        "for (request, _), picture in zip(finite, reversed(pictures), strict=True)",
        "tests/generation/test_unit.py::test_a_damaged_record_is_rejected_and_its_neighbours_are_untouched",
    ),
    "noise drawn per batch": (
        "dentgen/seeding.py",
        "return torch.randn(shape, generator=generator, dtype=torch.float32)",
        "return torch.randn(shape, dtype=torch.float32)",
        "tests/diffusion/test_engine.py::test_bits_do_not_depend_on_neighbours_or_order",
    ),
    "noise that does not depend on the variant": (
        "dentgen/seeding.py",
        "derive_seed(self.seed, self.key, self.variant, purpose, step)",
        "derive_seed(self.seed, self.key, purpose, step)",
        "tests/test_seeding.py::test_noise_depends_on_its_name_alone",
    ),
    "a resume that ignores the ledger": (
        "dentgen/pipeline/run.py",
        "pending = plan.units.select(pending_units(out, plan))",
        "pending = list(plan.units)",
        "tests/builds/test_overlap.py::test_a_build_that_raises_releases_its_lease_and_the_next_one_resumes",
    ),
    "a commit that overwrites": (
        "dentgen/shards/ledger.py",
        "    if storage.exists(ledger_url(out, unit)):\n        _require_same",
        "    if False:\n        _require_same",
        "tests/shards/test_ledger.py::test_other_bytes_are_refused_and_change_nothing",
    ),
    "an ignored loss of the lease": (
        "dentgen/pipeline/make_units.py",
        "        progress(samples)\n        lease.check()",
        "        progress(samples)",
        "tests/builds/test_overlap.py::test_a_build_that_loses_its_lease_stops_at_the_next_unit[False]",
    ),
    "an object replaced without a condition": (
        "dentgen/storage/conditional_put.py",
        '{"IfMatch": found} if _is_s3(fs) else {}',
        "{}",
        "tests/storage/test_writes.py::test_s3_refuses_a_swap_that_was_overtaken",
    ),
    "a quarantined record that is read again": (
        "dentgen/conditions/unit_records.py",
        "        start = position + 1",
        "        start = position",
        "tests/conditions/test_quarantine.py::test_crashing_records_are_found_and_their_neighbours_used",
    ),
    "a range of a tar that is read from its beginning": (
        "dentgen/conditions/readers/tar.py",
        "wanted.before, wanted.before + wanted.stop - wanted.start",
        "wanted.stop - wanted.start",
        "tests/conditions/test_quarantine.py::test_crashing_records_are_found_and_their_neighbours_used",
    ),
    "lost rejections": (
        "dentgen/conditions/unit_records.py",
        "rejected.append(_rejection(unit, position, raw.key, str(error), repeats * spec.sampling.variants))",
        "del error",
        "tests/builds/test_dirty.py::test_every_kind_of_damage_is_named_and_nothing_else_is_touched",
    ),
    "lost unreadable shards": (
        "dentgen/pipeline/units.py",
        "        if index.problem and left > 0:",
        "        if False:",
        "tests/builds/test_dirty.py::test_every_kind_of_damage_is_named_and_nothing_else_is_touched",
    ),
    "a repair that writes other bytes than were committed": (
        "dentgen/shards/ledger.py",
        "    if claims and record.sha256 not in claims:",
        "    if False:",
        "tests/pipeline/test_repair.py::test_a_lost_record_lets_no_other_bytes_in",
    ),
    "a name that is written before its content is synced": (
        "dentgen/storage/local_files.py",
        "            os.fsync(file.fileno())\n",
        "",
        "tests/storage/test_writes.py::test_content_is_synced_before_its_name",
    ),
    "a name that is not synced": (
        "dentgen/storage/conditional_put.py",
        "        return None\n    sync_folder(final.parent)\n",
        "        return None\n",
        "tests/storage/test_writes.py::test_content_is_synced_before_its_name",
    ),
    "an object written without a condition": (
        "dentgen/storage/conditional_put.py",
        'fs.pipe_file(path, data, mode="create")',
        "fs.pipe_file(path, data)",
        "tests/storage/test_files.py::test_round_trip",
    ),
    "a record before its shard": (
        "dentgen/shards/ledger.py",
        '    replaced, tag = _put_shard(out, unit, shard) if shard else (b"", "")\n',
        '    storage.put_if_absent(ledger_url(out, unit), json_bytes(record.model_dump(mode="json")))\n'
        '    replaced, tag = _put_shard(out, unit, shard) if shard else (b"", "")\n',
        "tests/shards/test_ledger.py::test_the_record_is_put_last",
    ),
    "a published shard that is not checked": (
        "dentgen/shards/ledger.py",
        "    if published != record.sha256:",
        "    if False:",
        "tests/shards/test_ledger.py::test_a_shard_replaced_during_its_commit_is_restored_and_reported[ledger-disk]",
    ),
    "a tag that is looked at after the put, when another attempt may have been there": (
        "dentgen/shards/ledger.py",
        '    if tag is not None:\n        return b"", tag',
        '    if tag is not None:\n        return b"", storage.tag_of(url)',
        "tests/shards/test_ledger.py::test_a_shard_replaced_during_its_commit_is_restored_and_reported[shard-disk]",
    ),
    "a retry with consumed canvases": (
        "dentgen/pipeline/actors/restarting_engine.py",
        "            return self._retry(lambda driver: driver.run(again, began))",
        "            left = iter(again)\n            return self._retry(lambda driver: driver.run(list(left), began))",
        "tests/pipeline/actors/test_restarting_engine.py::test_an_engine_that_dies_once_gives_the_same_latents",
    ),
    "collected errors that are not raised": (
        "dentgen/pipeline/make_units.py",
        "    if failures:\n        raise BuildError(",
        "    if False:\n        raise BuildError(",
        "tests/pipeline/test_repair.py::test_a_changed_source_is_refused_and_nothing_is_put",
    ),
    "a seal without a unit": (
        "dentgen/shards/index.py",
        "    missing = pending_units(out, plan)",
        "    missing = pending_units(out, plan)[:0]",
        "tests/shards/test_index.py::test_a_pending_unit_is_not_sealed",
    ),
    "a seal that does not add up the samples": (
        "dentgen/shards/record_faults.py",
        '"samples": (len(record.samples), unit.samples(plan.spec.sampling.variants)),',
        "",
        "tests/shards/test_index.py::test_a_ledger_that_does_not_add_up_is_not_sealed",
    ),
    "a seal that does not look for the shards": (
        "dentgen/shards/index.py",
        "    if wrong:\n        first",
        "    if False:\n        first",
        "tests/pipeline/test_repair.py::test_a_build_with_damaged_shards_is_not_finished",
    ),
    "samples counted again after a resume": (
        "dentgen/pipeline/run.py",
        "    before = planned - sum(",
        "    before = planned + 0 * sum(",
        "tests/builds/test_overlap.py::test_a_build_that_raises_releases_its_lease_and_the_next_one_resumes",
    ),
    "an engine that units do not take turns with": (
        "dentgen/pipeline/actors/restarting_engine.py",
        "threading.Lock() if drain_per_call else nullcontext()",
        "nullcontext()",
        "tests/pipeline/actors/test_restarting_engine.py::test_calls_share_the_engine_unless_it_is_drained[True]",
    ),
    "a turn that lasts until a unit is packed": (
        "dentgen/pipeline/actors/engine_backend.py",
        "        return generate_unit(",
        "        with self._engine._rebuilding:\n         return generate_unit(",
        "tests/pipeline/actors/test_engine_backend.py::test_units_that_are_being_packed_leave_the_engine_another_one",
    ),
    "too few units at once, so that one that is packed leaves the engine none": (
        "dentgen/pipeline/actors/actor_work.py",
        "UNITS_AT_ONCE: Final = 4",
        "UNITS_AT_ONCE: Final = 2",
        "tests/pipeline/actors/test_engine_backend.py::test_units_that_are_being_packed_leave_the_engine_another_one",
    ),
    "a call that is not retried because another one replaced its engine": (
        "dentgen/pipeline/actors/restarting_engine.py",
        "            if not driver.dead:",
        "            if not self._driver.dead:",
        "tests/pipeline/actors/test_restarting_engine.py::"
        "test_a_call_whose_engine_another_call_has_replaced_is_retried",
    ),
    "units cut by position where a split skips records": (
        "dentgen/pipeline/units.py",
        "((wanted[start : start + limit], ()) for start in range(0, len(wanted), limit))",
        "((part, ()) for start in range(0, len(index.keys), limit)"
        " if (part := [n for n in wanted if start <= n < start + limit]))",
        "tests/pipeline/test_units.py::test_a_small_split_gives_full_units",
    ),
    "a seal that holds the whole ledger": (
        "dentgen/shards/index.py",
        "_counted(_fitting_records(out, plan, again=again), builder, keys))",
        "_counted(list(_fitting_records(out, plan, again=again)), builder, keys))",
        "tests/shards/test_index.py::test_memory_of_sealing_does_not_grow_with_the_ledger",
    ),
    "a second run that seals whatever the ledger says": (
        "dentgen/shards/index.py",
        "    if sealed and index.ledger_sha256 not in sealed:",
        "    if False:",
        "tests/pipeline/test_verify.py::test_a_second_run_does_not_seal_a_forged_ledger",
    ),
    "a ledger that is not compared with the samples of its shards": (
        "dentgen/shards/verify_samples.py",
        "        if found != expected:",
        "        if False:",
        "tests/pipeline/test_verify.py::test_tampering_is_named[ledger with another split]",
    ),
    "a plan whose units another attempt replaced": (
        "dentgen/shards/plan_file.py",
        "    if storage.read_bytes(units_url) != units:",
        "    if False:",
        "tests/shards/test_plan_file.py::test_units_that_a_concurrent_plan_overwrote_are_restored_by_the_winner",
    ),
    "shards in the order of the listing": (
        "dentgen/conditions/readers/source.py",
        "    return sorted(shards, key=lambda shard: shard.name)",
        "    return shards",
        "tests/builds/test_build.py::test_the_order_of_a_listing_changes_nothing",
    ),
    "a gate that lets everything below its limit pass": (
        "dentgen/quality/gate.py",
        "(values >= least)",
        "(values >= least - 1)",
        "tests/quality/test_gate.py::test_failures_are_those_outside_and_nan_passes",
    ),
    "limits at the wrong tail of the reference": (
        "dentgen/quality/gate.py",
        "np.quantile(known, share)",
        "np.quantile(known, 1 - share)",
        "tests/quality/test_gate.py::test_all_limits_together_lose_no_more_than_asked_and_nearly_as_much",
    ),
    "a shift that is looked for downwards only": (
        "dentgen/quality/picture_figures.py",
        "np.hypot(down, right)",
        "np.abs(down)",
        "tests/quality/test_picture_figures.py::test_a_shift_of_the_teeth_is_found",
    ),
    "judges that see the pictures in another order": (
        "dentgen/quality/labelled_pictures.py",
        "judges.probabilities(shown)",
        "judges.probabilities(shown[::-1])",
        "tests/quality/test_labelled_pictures.py::test_labels_of_another_mouth_fit_worse",
    ),
    "a picture that is made again with the noise that failed": (
        "dentgen/records.py",
        " + self.attempt * self.variants",
        "",
        "tests/generation/test_attempts.py::test_only_what_fails_is_made_again_with_other_noise",
    ),
    "a gate that forgets what it accepted": (
        "dentgen/generation/gate.py",
        "                self.accepted.append((sample.request.record.key, bits))",
        "                pass",
        "tests/generation/test_gate.py::test_a_copy_is_told_from_another_picture_and_the_first_one_stays",
    ),
    "judges that nobody planned": (
        "dentgen/generation/gate.py",
        "if judges.digest != planned.judges_sha256:",
        "if not judges.digest:",
        "tests/generation/test_gate.py::test_judges_other_than_planned_are_refused",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_can_be_planted_and_its_test_is_there(fault: str) -> None:
    """Quick, so that every change of the code keeps the planted faults up to date."""
    file, right, _, test = FAULTS[fault]
    assert (ROOT / file).read_text().count(right) == 1, f"{file} no longer has {right!r}"
    place, _, name = test.partition("::")
    assert f"def {name.partition('[')[0]}(" in (ROOT / place).read_text(), test


@pytest.mark.faults
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_noticed(fault: str, tmp_path: Path) -> None:
    file, right, wrong, test = FAULTS[fault]
    for name in ("dentgen", "tests", "jobs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    source = (tmp_path / file).read_text()
    (tmp_path / file).write_text(source.replace(right, wrong))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert run.returncode == 1, f"{test} did not notice: {run.stdout[-2000:]}"
    assert "1 failed" in run.stdout
