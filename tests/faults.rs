//! Table of the faults that the controller has to survive: fault, response, time to respond, and the tests that inject it.
//! `docs/reference/faults.md` is generated from this table. A row that names a missing test, and an outdated page, fail.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::fmt::Write;

/// One fault: number, fault, response, time to respond, and its tests as pairs of file and function.
type Row = (u32, &'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const CAMERAS: &str = "controller/core/tests/cameras.rs";
const ONE_CAMERA: &str = "a_camera_that_is_lost_late_blank_of_another_size_or_frozen_stops_the_robot";
const CAMERAS_WHOLE: &str =
    "a_camera_that_fails_stops_the_robot_and_one_that_works_again_drives_it_after_a_reset";
const CONTROL: &str = "controller/core/tests/control.rs";
const ROBOT: &str = "tests/robot.rs";
const BAD_INPUT: &str = "tests/bad_input.rs";
const MOTION: &str = "tests/motion.rs";
const STARTING: &str = "tests/starting.rs";
const START: &str = "tests/start.rs";
const WISHES: &str = "controller/runtime/src/mailbox.rs";
const VIEW: &str = "controller/cli/src/commands/run/view.rs";
const CHECKS: &str = "controller/robot/src/robot/checks.rs";
const RECORDS: &str = "tests/records.rs";
const PYTHON: &str = "sim_bridge/link/python/test_aegis_link.py";
const RANDOM: &str = "tests/random_faults.rs";
const RANDOM_CORE: &str = "controller/core/tests/random_faults.rs";
const INTAKE: &str = "controller/core/src/control/intake.rs";
const CLOCK_OFFSET: &str = "controller/core/src/control/clock_offset.rs";
const CERTIFICATES: &str = "sim_bridge/link/src/certificates.rs";
const AT_START: &str = "at start";
const SAME_PERIOD: &str = "the same control period";
const SERVERS: &str = "tests/servers.rs";
const SERVED_RUN: &str = "tests/servers/run.rs";
const LOST_SERVER: &str = "a_server_that_fails_in_the_middle_of_a_hold_is_a_strong_policy_that_is_lost";
const WATCHDOG: &str = "tests/watchdog.rs";
const TLS: &str = "sim_bridge/link/python/test_aegis_tls.py";
const TELEOP: &str = "tests/teleop.rs";
const BACKUP: &str = "controller/core/src/control/operator/tests.rs";
const BY_HAND: &str = "controller/core/tests/operator.rs";
const JUDGE: &str = "controller/watchdog/src/judge/tests.rs";
const ROS2: &str = "tests/ros2.rs";
const HOST: &str = "sim_bridge/link/tests/host.rs";
const EXPORT: &str = "tests/export.rs";
const TRIAL: &str = "tests/trial.rs";

const ROWS: [Row; 125] = [
    (
        1,
        "weak policy misses its deadline once",
        "the chunk in hand goes on; counted, in the record",
        SAME_PERIOD,
        &[(CONTROL, "one_missed_deadline_keeps_the_chunk_in_hand")],
    ),
    (
        2,
        "weak policy misses `weak_misses` deadlines in a row",
        "the strong policy drives, for one hold at the most; then, or without it, safe stop",
        "`weak_misses` × `lead_steps` periods",
        &[
            (
                CONTROL,
                "a_weak_policy_that_misses_deadline_after_deadline_gives_way_to_the_strong_one_for_a_hold",
            ),
            (CONTROL, "both_lost_is_a_safe_stop"),
        ],
    ),
    (
        3,
        "strong policy times out or dies mid-hold",
        "its chunk runs out, then safe stop; where `on_strong_loss` allows it and the rule is calm, the weak policy; no \
         fire is tried again",
        "the rest of its chunk",
        &[
            (CONTROL, "a_strong_policy_that_dies_mid_hold_runs_out_its_chunk_and_stops"),
            (CONTROL, "where_it_may_a_calm_weak_policy_takes_over_from_a_dead_strong_one_and_fires_no_more"),
            (ROBOT, "a_strong_policy_of_another_process_drives_and_its_death_is_a_safe_stop"),
        ],
    ),
    (
        4,
        "an action is NaN or infinite",
        "the chunk is rejected; without another, safe stop",
        SAME_PERIOD,
        &[(CONTROL, "a_chunk_that_is_not_finite_or_out_of_bounds_is_no_chunk")],
    ),
    (
        5,
        "an action is out of its channel's bounds",
        "clamped or rejected, as `out_of_bounds` says; in the record",
        SAME_PERIOD,
        &[
            (CONTROL, "actions_are_clamped_where_the_settings_say_so"),
            (CONTROL, "a_chunk_that_is_not_finite_or_out_of_bounds_is_no_chunk"),
        ],
    ),
    (
        6,
        "the activation has another width",
        "refused, naming expected and found",
        AT_START,
        &[(BAD_INPUT, "a_wrong_activation_width")],
    ),
    (
        7,
        "activation or score is NaN",
        "the highest risk, flagged",
        SAME_PERIOD,
        &[(CONTROL, "a_score_that_is_not_a_number_is_the_highest_risk")],
    ),
    (
        8,
        "observations are too old",
        "nothing is inferred on them; after `stale_steps` periods, safe stop",
        "`max_age_ms` + `stale_steps` periods",
        &[(CONTROL, "an_old_observation_is_not_inferred_on_and_then_stops_the_robot")],
    ),
    (
        9,
        "observations are duplicated, reordered or skipped",
        "sequence numbers decide; dropped and counted",
        SAME_PERIOD,
        &[(CONTROL, "sequence_numbers_decide_what_an_observation_counts_for")],
    ),
    (
        10,
        "the wall clock jumps",
        "nothing: time is monotonic",
        "none",
        &[(CONTROL, "the_wall_clock_is_nowhere_and_time_starts_where_it_likes")],
    ),
    (
        11,
        "a control period overruns",
        "counted; its actions are over, no burst makes up for them",
        SAME_PERIOD,
        &[
            (CONTROL, "missed_periods_are_counted_and_their_actions_are_not_made_up_for"),
            ("controller/runtime/src/pace.rs", "periods_lie_on_a_grid_and_missed_ones_are_lost"),
        ],
    ),
    (
        12,
        "the plant's process is killed",
        "safe stop; an experiment runs the episode again",
        "the earlier of row 8 and `plant_timeout_ms`",
        &[
            (ROBOT, "a_plant_that_is_killed_stops_the_controller_and_one_that_comes_back_waits_for_a_reset"),
            ("tests/bridge.rs", "a_bridge_killed_mid_episode_costs_that_episode_and_nothing_else"),
        ],
    ),
    (
        13,
        "the plant comes back",
        "no motion before a reset and a new claim",
        "none",
        &[
            (ROBOT, "a_plant_that_is_killed_stops_the_controller_and_one_that_comes_back_waits_for_a_reset"),
            (CONTROL, "a_silent_lost_or_stopped_plant_stops_the_controller_until_somebody_resets_it"),
        ],
    ),
    (
        14,
        "the controller's process is killed",
        "the plant stops by itself",
        "the plant's command timeout",
        &[(ROBOT, "a_controller_that_is_killed_leaves_a_plant_that_stops_by_itself")],
    ),
    (
        15,
        "a message is malformed, truncated or too large",
        "dropped, counted, told of once a second; no memory by a length",
        "on arrival",
        &[
            ("sim_bridge/link/tests/wire.rs", "a_truncated_message_is_refused_wherever_it_ends"),
            ("sim_bridge/link/tests/wire.rs", "any_bytes_are_read_or_refused"),
            (
                "sim_bridge/link/tests/loopback.rs",
                "a_flood_is_dropped_with_a_count_and_the_controller_goes_on",
            ),
            (ROBOT, "garbage_on_every_key_is_counted_and_changes_nothing"),
        ],
    ),
    (
        16,
        "a message is of another schema version",
        "refused, naming both",
        "on arrival",
        &[("sim_bridge/link/tests/host.rs", "another_version_is_refused_with_both_named")],
    ),
    (
        17,
        "two controllers claim one robot",
        "the second does not start",
        AT_START,
        &[(ROBOT, "a_second_controller_of_one_robot_does_not_start")],
    ),
    (
        18,
        "somebody without permission sends actions",
        "dropped by access control",
        "on arrival",
        &[(
            "tests/security.rs",
            "a_watcher_reads_and_moves_nothing_and_a_certificate_of_nobody_does_neither",
        )],
    ),
    (
        19,
        "a model file is truncated, corrupted or swapped",
        "refused by digest, naming the file",
        AT_START,
        &[
            (BAD_INPUT, "a_truncated_model"),
            ("experiments/harness/tests/registration.rs", "each_thing_that_differs_is_named"),
        ],
    ),
    (
        20,
        "no GPU where one is required",
        "refused with the reason; `auto` goes on without, and says so",
        AT_START,
        &[("tests/inference.rs", "a_provider_that_the_library_lacks_is_refused_and_auto_goes_on_without_it")],
    ),
    (
        21,
        "an inference fails mid-run",
        "as rows 2 and 3",
        SAME_PERIOD,
        &[
            (CONTROL, "a_strong_policy_that_dies_mid_hold_runs_out_its_chunk_and_stops"),
            (
                "controller/runtime/tests/control_loop.rs",
                "a_policy_that_panics_is_a_policy_that_does_not_answer",
            ),
        ],
    ),
    (
        22,
        "a probe of another model",
        "refused by the digest that it carries",
        AT_START,
        &[(BAD_INPUT, "a_probe_of_another_model")],
    ),
    (
        23,
        "the disk is full",
        "control goes on, the record ends with an alarm; an experiment goes on later, without loss",
        "at the next write",
        &[
            (ROBOT, "a_disk_that_is_full_ends_the_record_and_not_the_run"),
            ("tests/experiment.rs", "a_disk_that_takes_no_more_is_said_and_what_was_stored_goes_on"),
        ],
    ),
    (
        24,
        "SIGKILL during an experiment",
        "resumed; the report has the same bytes",
        "none",
        &[("tests/experiment.rs", "whole_in_parts_without_forks_or_killed_it_is_one_report")],
    ),
    (
        25,
        "SIGINT or SIGTERM; Ctrl-C in a view",
        "safe stop, everything written, exit code 5",
        "5 ms, then the stop",
        &[
            (ROBOT, "a_signal_ends_in_a_safe_stop_and_says_so"),
            (VIEW, "a_key_asks_for_what_the_manual_says_in_either_case_and_ctrl_c_for_the_end"),
        ],
    ),
    (
        26,
        "emergency stop",
        "latched; only a reset opens it",
        "the period that hears it",
        &[
            (ROBOT, "an_e_stop_is_obeyed_in_the_period_that_hears_it_and_only_a_reset_leads_on"),
            ("controller/core/tests/control_properties.rs", "the_controller_keeps_its_promises"),
        ],
    ),
    (
        27,
        "a setting is unknown or impossible",
        "refused with file, field, found and valid",
        AT_START,
        &[
            (ROBOT, "a_robot_file_that_cannot_work_is_refused_before_anything_moves"),
            ("controller/robot/src/robot/tests.rs", "a_key_that_nobody_knows_is_refused_in_every_table"),
            (BAD_INPUT, "a_plan_with_an_unknown_key"),
        ],
    ),
    (
        28,
        "the budget is spent",
        "no further fire; alarms that the limits do not obey are in the record",
        SAME_PERIOD,
        &[(CONTROL, "a_budget_that_is_spent_binds_whatever_the_score")],
    ),
    (
        29,
        "a store of an older version",
        "refused",
        AT_START,
        &[("experiments/harness/tests/experiment.rs", "a_store_of_something_else_or_damaged_is_refused")],
    ),
    (
        30,
        "a plan is edited after registration",
        "refused; the report names what differs",
        AT_START,
        &[("experiments/harness/tests/registration.rs", "each_thing_that_differs_is_named")],
    ),
    (
        31,
        "pictures freeze while their stamps go on",
        "stale, as row 8",
        "`frozen_ms`, then row 8",
        &[(CONTROL, "pictures_that_do_not_change_are_stale")],
    ),
    (
        32,
        "a reply of an earlier episode",
        "dropped by its numbers, counted",
        SAME_PERIOD,
        &[(CONTROL, "a_reply_of_an_earlier_episode_or_question_is_dropped")],
    ),
    (
        33,
        "commands jump at a hand-over",
        "limited in velocity and acceleration from the last command; in the record",
        SAME_PERIOD,
        &[
            (CONTROL, "a_fire_hands_over_and_a_calm_rule_hands_back"),
            (
                "controller/core/tests/control_properties.rs",
                "following_keeps_velocity_and_acceleration_and_arrives",
            ),
        ],
    ),
    (
        34,
        "the score dances about the threshold",
        "hold, hysteresis, budget and cap bound the hand-overs",
        SAME_PERIOD,
        &[(CONTROL, "a_score_that_dances_about_the_threshold_hands_over_no_more_often_than_the_limits_say")],
    ),
    (
        35,
        "a provider is registered and the graph runs elsewhere",
        "a provider that does not register, or leaves nodes to another, is refused with the nodes' names; `auto` says so",
        AT_START,
        &[
            (
                "tests/inference.rs",
                "a_provider_that_the_library_lacks_is_refused_and_auto_goes_on_without_it",
            ),
            ("tests/inference.rs", "the_runtime_says_where_each_node_runs_and_a_node_elsewhere_is_found_out"),
        ],
    ),
    (
        36,
        "the router is replaced",
        "sessions declare again; no motion before a reset",
        "as rows 12 and 13",
        &[(ROBOT, "a_plant_that_is_killed_stops_the_controller_and_one_that_comes_back_waits_for_a_reset")],
    ),
    (
        37,
        "the plant restarts in another pose while the controller is latched; then a reset and an e-stop",
        "no command of an earlier claim or episode is sent; numbers of episodes are never used twice in a run",
        "none",
        &[
            (MOTION, "a_robot_that_restarts_elsewhere_is_not_moved_by_a_reset_nor_by_an_e_stop"),
            ("tests/foreign.rs", "a_command_of_an_episode_before_the_reset_is_not_sent"),
            (ROBOT, "a_plant_that_is_killed_stops_the_controller_and_one_that_comes_back_waits_for_a_reset"),
        ],
    ),
    (
        38,
        "a robot with position channels stands far from `rest`, or from where the last episode ended, at a start",
        "commands start from its own pose; beyond `start_within` the start is refused, and a first action beyond it stops",
        AT_START,
        &[
            (MOTION, "every_command_is_within_its_limits_and_the_first_starts_where_the_robot_stands"),
            (MOTION, "a_start_too_far_from_rest_is_refused_and_one_near_it_is_not"),
            (MOTION, "a_first_action_too_far_from_where_the_robot_stands_is_a_safe_stop"),
            (MOTION, "an_answer_to_a_reset_that_comes_late_is_not_where_the_robot_starts_from"),
        ],
    ),
    (
        39,
        "a chunk's own steps exceed velocity, acceleration or jerk",
        "limited in every mode and counted; with `limits = \"until_caught_up\"` after a hand-over alone",
        SAME_PERIOD,
        &[
            (MOTION, "every_command_is_within_its_limits_and_the_first_starts_where_the_robot_stands"),
            (
                "controller/core/tests/control_properties.rs",
                "whatever_is_asked_for_no_command_leaves_its_bounds_or_its_limits",
            ),
        ],
    ),
    (
        40,
        "an old observation is repeated among new ones",
        "it reaches no policy; counted",
        "on arrival",
        &[
            (MOTION, "an_old_observation_among_new_ones_is_answered_by_no_command"),
            (INTAKE, "an_observation_counts_once_in_its_own_episode_and_forward_in_time"),
        ],
    ),
    (
        41,
        "constant latency between plant and controller, either way",
        "an observation's age counts from when the plant took it, by its own clock: old ones are row 8; without an estimate of \
         that clock nothing starts; and the plant drops a command that answers an observation older than its command timeout, \
         by its own steps, and stops",
        "as row 8; at start; the plant's command timeout",
        &[
            (CONTROL, "an_observation_counts_from_when_it_was_taken_and_not_from_when_it_came"),
            (MOTION, "a_latency_beyond_the_greatest_age_starts_nothing_and_stops_a_robot_that_drives"),
            (MOTION, "a_latency_within_the_greatest_age_lets_the_robot_drive_on"),
            (MOTION, "a_plant_that_never_says_when_it_heard_the_controller_is_not_started"),
            (MOTION, "a_line_that_is_slow_one_way_makes_no_observation_younger_than_it_is"),
            (CLOCK_OFFSET, "an_age_is_never_too_small_however_the_round_trip_is_shared_out"),
            (CLOCK_OFFSET, "a_latency_that_is_the_same_both_ways_gives_the_offset_exactly"),
            (CLOCK_OFFSET, "a_latency_that_is_not_is_wrong_by_half_of_the_round_trip_at_most"),
            (
                "sim_bridge/link/tests/host.rs",
                "a_command_that_answers_an_observation_older_than_the_timeout_is_dropped",
            ),
        ],
    ),
    (
        42,
        "an observation holds a value that is not finite or beyond 1e6, or more or fewer values than were announced; its time goes backward, or its content freezes",
        "refused by feature name, or stale, as row 8",
        "on arrival, or `frozen_ms`; then row 8",
        &[
            (MOTION, "observations_that_must_not_count_reach_no_policy_and_stop_the_robot"),
            ("sim_bridge/link/tests/loopback.rs", "what_a_plant_announces_is_checked_when_an_episode_begins"),
            (INTAKE, "implausible_values_are_refused_by_the_features_name"),
            (CONTROL, "pictures_that_do_not_change_are_stale"),
        ],
    ),
    (
        43,
        "a reset, the end of an episode, or the return of a plant",
        "no motion until an operator says start",
        "none",
        &[("tests/start.rs", "nothing_moves_before_a_start_nor_after_a_reset_without_another")],
    ),
    (
        44,
        "commands cease at a robot that takes positions",
        "it keeps what it last executed; no action is made up, and no command follows a stop before a reset",
        "the plant's command timeout",
        &[("tests/peers.rs", "the_python_side_keeps_the_same_rules")],
    ),
    (
        45,
        "`rest`, bounds, limits or readings are not finite, of the wrong kind, missing, or contradict each other",
        "refused by channel; and no command that is not finite or out of bounds leaves the controller",
        AT_START,
        &[
            (ROBOT, "a_robot_file_that_cannot_work_is_refused_before_anything_moves"),
            (MOTION, "a_position_without_limits_or_without_a_reading_of_its_own_is_refused"),
            (CHECKS, "what_is_to_be_limited_always_has_limits"),
            (CHECKS, "bounds_that_no_plant_can_report_are_refused"),
            (
                "controller/core/tests/control_properties.rs",
                "whatever_is_asked_for_no_command_leaves_its_bounds_or_its_limits",
            ),
        ],
    ),
    (
        46,
        "a viewer is not there, or goes away",
        "refused before any work; later it is left behind, and the end of the run waits two seconds for it",
        AT_START,
        &[("tests/start.rs", "a_viewer_that_is_not_there_is_refused_before_any_work")],
    ),
    (
        47,
        "the disk is full before the first record, in the middle, or at a stop",
        "a folder without room is refused; later the record ends with an alarm, summary and black box are written into room \
         set aside, and the exit code says that the record ended",
        "at start; at the next write",
        &[
            (ROBOT, "on_a_full_disk_a_stop_leaves_its_black_box_and_the_run_its_summary"),
            (ROBOT, "a_disk_that_is_full_ends_the_record_and_not_the_run"),
            ("controller/robot/src/reserve.rs", "what_does_not_fit_is_written_into_the_room_set_aside"),
        ],
    ),
    (
        48,
        "a flood of TLS connections that fail",
        "connected parties go on, and an operator gets in: the listener pauses a millisecond after each, not a tenth of a second",
        "a millisecond for each",
        &[("tests/security.rs", "connections_that_fail_keep_out_neither_who_is_there_nor_an_operator")],
    ),
    (
        49,
        "a record is cut, a bit of it changed, or a period moved, left out or repeated; or a file beside it is damaged",
        "said with period and byte by `aegis replay --check`, exit code 1",
        "at the check",
        &[
            ("controller/recorder/src/run_log.rs", "every_bit_of_a_record_that_changes_is_found"),
            ("controller/recorder/src/run_log.rs", "a_record_that_is_cut_at_any_byte_is_said_to_end_early"),
            ("controller/recorder/src/frames.rs", "frames_that_changed_places_or_took_each_others_are_found"),
            (RECORDS, "periods_that_changed_places_are_found_in_records_whose_checksums_do_not_tell"),
            (RECORDS, "every_file_of_a_runs_folder_is_checked_or_named_as_not_checked"),
            (ROBOT, "an_episode_runs_to_its_end_and_replays_bit_for_bit"),
        ],
    ),
    (
        54,
        "SIGQUIT or SIGHUP, as of a closed terminal",
        "as row 25",
        "as row 25",
        &[(ROBOT, "a_signal_ends_in_a_safe_stop_and_says_so")],
    ),
    (
        55,
        "a certificate has expired, has not begun, is another authority's, or its key is another's; one ends within a day",
        "refused, naming file, dates in UTC and what to do; the last is warned of",
        AT_START,
        &[
            (CERTIFICATES, "a_certificate_that_has_expired_or_has_not_begun_says_when_and_what_to_do"),
            (CERTIFICATES, "a_certificate_of_another_authority_of_the_same_name_is_found_out"),
            (CERTIFICATES, "a_whole_folder_passes_until_its_last_day_is_warned_of"),
        ],
    ),
    (
        56,
        "random faults of plant, lines, policies and people, in any order",
        "what the robot executes keeps bounds and limits, comes to rest and stays there where no policy drives, and answers no \
         observation older than `max_age_ms` and what is left of a chunk",
        "as in each row",
        &[
            (RANDOM_CORE, "whatever_fails_a_position_arm_moves_within_its_limits_and_comes_to_rest"),
            (RANDOM_CORE, "whatever_fails_a_rate_arm_moves_within_its_limits_and_comes_to_rest"),
            (
                RANDOM_CORE,
                "whatever_fails_an_arm_300_ms_away_is_driven_by_what_is_young_enough_or_not_at_all",
            ),
            (RANDOM_CORE, "a_shell_that_is_broken_is_found_out"),
            (RANDOM, "a_position_arm_keeps_its_limits_through_faults_in_any_order"),
            (RANDOM, "a_rate_arm_keeps_its_limits_through_faults_in_any_order"),
            (RANDOM, "an_arm_300_ms_away_keeps_its_limits_through_faults_in_any_order"),
            (RANDOM, "an_arm_whose_observations_take_longer_than_they_may_is_not_driven"),
        ],
    ),
    (
        57,
        "the plant echoes no heartbeat any more, or its clock is set forward",
        "what comes is of unknown age and counts as old, as row 8",
        "two seconds after the last echo, or on arrival; then row 8",
        &[
            (MOTION, "an_observation_whose_age_is_not_known_counts_as_old"),
            (CLOCK_OFFSET, "a_clock_that_is_echoed_no_more_is_known_no_more"),
            (CLOCK_OFFSET, "nothing_is_taken_after_it_came_and_a_stamp_of_the_future_is_none_that_is_known"),
        ],
    ),
    (
        58,
        "a stop, an e-stop or a signal between episodes, when the robot may have been moved by hand",
        "latched, and nothing is sent: a command of standing still would move it back",
        SAME_PERIOD,
        &[
            (MOTION, "a_stop_between_episodes_sends_nothing_to_a_robot_that_may_stand_elsewhere"),
            (CONTROL, "a_latch_sends_nothing_to_a_plant_that_stopped_by_itself"),
        ],
    ),
    (
        59,
        "a plant answers no claim or no reset",
        "a signal ends the run all the same, with its summary",
        "a second",
        &[(MOTION, "a_signal_ends_a_run_that_waits_for_an_answer")],
    ),
    (
        60,
        "the robot stopped by itself after an episode, as it should without commands",
        "the next episode begins",
        "none",
        &[(MOTION, "an_episode_begins_although_the_robot_stopped_by_itself_after_the_one_before")],
    ),
    (
        61,
        "a start is said in a latch, or a stop or a reset comes between a start and its first command",
        "no episode begins; the next start counts",
        SAME_PERIOD,
        &[
            (STARTING, "a_start_that_is_said_in_a_latch_counts_for_nothing_after_the_reset"),
            (STARTING, "a_stop_and_a_reset_between_a_start_and_its_first_command_end_the_start"),
            (STARTING, "an_e_stop_before_the_first_command_of_the_only_episode_is_no_success"),
            (WISHES, "a_start_is_taken_once_and_none_outlives_a_stop_or_a_reset"),
        ],
    ),
    (
        62,
        "where the robot stands was seen too long ago when the start is taken",
        "the start is refused, and made again from a newer observation for three seconds",
        SAME_PERIOD,
        &[(CONTROL, "a_start_from_where_the_plant_stood_too_long_ago_is_refused")],
    ),
    (
        63,
        "a drive is off, or the arm is pushed, while a policy drives or in a latch; then the drive is back",
        "safe stop; nothing is sent before the next start",
        "with the first young observation beyond `follow_within`",
        &[
            (STARTING, "a_drive_that_is_off_stops_the_robot_and_nothing_is_sent_when_it_comes_back"),
            (CONTROL, "a_robot_that_does_not_follow_is_stopped_and_sent_nothing_before_the_next_start"),
        ],
    ),
    (
        64,
        "a plant that was lost is back before anybody has reset the latch",
        "it is neither reset nor started, whatever is said but a reset",
        "at once",
        &[(STARTING, "a_plant_that_came_back_is_not_reset_before_an_operator_resets_the_latch")],
    ),
    (
        65,
        "the plant could not be claimed again",
        "operators are heard all the same: an e-stop at once, a reset tries again",
        "at once",
        &[(STARTING, "operators_are_heard_although_the_plant_could_not_be_claimed")],
    ),
    (
        66,
        "observations are repeated, or come late, at an observation's pace",
        "each stands for one command, so none follows another faster than the plant moves",
        "at once",
        &[(STARTING, "an_observation_that_is_said_twice_makes_no_second_command")],
    ),
    (
        67,
        "the last episode left a discrete channel elsewhere than at rest",
        "the next begins at rest, before any policy speaks",
        SAME_PERIOD,
        &[(CONTROL, "a_discrete_channel_begins_at_rest_whatever_the_episode_before_left")],
    ),
    (
        68,
        "a terminal goes away in which a run is watched",
        "as row 25; the summary is whole",
        "as row 25",
        &[(START, "a_terminal_that_goes_away_ends_the_run_in_a_safe_stop_with_its_summary")],
    ),
    (
        69,
        "nobody takes a run's output: a stopped terminal, a full pipe",
        "nothing of the run waits for it; lines that find no room are counted, and that is said in their place",
        "at the end, two seconds at most",
        &[
            (START, "a_signal_ends_a_run_whose_output_nobody_takes_with_its_summary"),
            (
                "controller/cli/src/outlet.rs",
                "nobody_waits_for_an_output_that_takes_nothing_and_what_is_missing_is_counted",
            ),
        ],
    ),
    (
        70,
        "a view is asked for without a terminal",
        "refused before anything else",
        AT_START,
        &[(START, "a_view_without_a_terminal_is_refused_before_anything_else")],
    ),
    (
        71,
        "the record is removed, replaced or emptied while a run goes on",
        "said, and the record counts as ended early",
        "a second",
        &[
            (ROBOT, "a_record_that_is_removed_while_the_run_goes_on_is_said_to_be_gone"),
            (
                "controller/recorder/src/run_log.rs",
                "a_record_that_was_removed_replaced_or_emptied_while_it_was_written_is_said_to_be_gone",
            ),
        ],
    ),
    (
        72,
        "a plant's `stop` fails",
        "it is tried again every period, and the plant counts as stopped once it has worked; until then it cannot be reset",
        "every period; at the end of the serving five seconds",
        &[
            (PYTHON, "test_a_stop_that_fails_is_tried_again_every_period_and_is_none_before_it_has_worked"),
            (
                "sim_bridge/link/tests/host.rs",
                "a_plant_that_fails_is_told_to_stand_still_every_period_and_has_not_stopped_before_that_has_worked",
            ),
        ],
    ),
    (
        73,
        "a signal ends a plant in Python, of a closed terminal too",
        "its `stop` is called",
        "at once",
        &[(PYTHON, "test_every_signal_that_would_end_or_suspend_it_ends_the_serving")],
    ),
    (
        74,
        "a plant's answer cannot be read",
        "an error that names the field, with what was expected and found; it is not asked for again",
        "at once",
        &[(
            "sim_bridge/link/tests/loopback.rs",
            "an_answer_that_cannot_be_read_is_said_with_its_field_and_not_asked_for_again",
        )],
    ),
    (
        75,
        "the keys are another party's, or for another plant",
        "refused with the name that the certificate has and the one that is needed",
        AT_START,
        &[(
            "tests/keys.rs",
            "keys_of_another_party_or_another_plant_are_refused_with_whose_they_are_and_whose_are_needed",
        )],
    ),
    (
        76,
        "a reset is said while no plant is held, and a stop comes later",
        "the stop cancels the reset; only a reset that is said in the latch opens it",
        SAME_PERIOD,
        &[
            ("tests/starting.rs", "a_reset_that_is_said_while_the_plant_is_claimed_opens_no_later_latch"),
            ("controller/runtime/src/mailbox.rs", "no_reset_outlives_a_stop_that_came_after_it"),
        ],
    ),
    (
        77,
        "an observation, a heartbeat or an operator's command on a key of another kind, as an operator's certificate could send",
        "counted as malformed and taken for nothing",
        "at once",
        &[("sim_bridge/link/tests/loopback.rs", "a_message_on_another_messages_key_is_taken_for_nothing")],
    ),
    (
        78,
        "a robot in Python is claimed in lock-step",
        "refused; a simulator says `lock_step = True`",
        "at the claim",
        &[(
            "sim_bridge/link/python/test_aegis_link.py",
            "test_no_controller_moves_a_robot_step_by_step_without_start_limits_and_timeout",
        )],
    ),
    (
        79,
        "a plant's own period is late",
        "it is skipped and the next lasts its whole time: no two commands within a period",
        "the same period",
        &[
            ("sim_bridge/link/src/serve.rs", "a_late_period_is_followed_by_a_whole_one"),
            ("sim_bridge/link/python/test_aegis_link.py", "test_a_late_period_is_followed_by_a_whole_one"),
        ],
    ),
    (
        80,
        "the controller's process stands still while it waits for an observation",
        "counted as missed periods; their actions are over",
        "the next period",
        &[(
            "controller/runtime/src/pace.rs",
            "a_period_that_waits_for_its_observation_is_missed_only_past_the_end_of_the_wait",
        )],
    ),
    (
        81,
        "the controller's process is suspended for longer than `plant_timeout_ms`, and goes on",
        "safe stop; nothing is sent before the next start, because the robot may have been moved meanwhile",
        "the next period",
        &[
            (MOTION, "a_controller_that_was_suspended_sends_nothing_to_a_robot_that_was_moved_meanwhile"),
            (CONTROL, "a_controller_that_stood_still_too_long_stops_and_sends_nothing_before_the_next_start"),
        ],
    ),
    (
        82,
        "a camera delivers nothing, or late",
        "no policy is asked on an old picture; safe stop",
        "the camera's `max_age_ms`, then `stale_steps` periods",
        &[(CAMERAS, ONE_CAMERA), ("tests/cameras.rs", CAMERAS_WHOLE)],
    ),
    (
        83,
        "the pixels of a camera do not change",
        "its frames count as old, as row 82",
        "the camera's `frozen_ms`; then row 82",
        &[(CAMERAS, ONE_CAMERA), ("tests/cameras.rs", CAMERAS_WHOLE)],
    ),
    (
        84,
        "a frame is black, of another size, no picture at all, or its time goes backward",
        "refused with the camera, what was found and what to look at; then row 82",
        "on arrival; then row 82",
        &[
            (CAMERAS, ONE_CAMERA),
            ("tests/cameras.rs", CAMERAS_WHOLE),
            ("sim_bridge/link/src/cameras.rs", "what_is_no_picture_of_its_size_is_refused_in_words"),
        ],
    ),
    (
        85,
        "frames and observation are of different times",
        "paired by their stamps within `max_skew_ms`, however late each comes; without a pair no policy is asked, then safe stop",
        "as row 82",
        &[
            (
                "controller/core/src/control/pairing.rs",
                "frames_that_come_late_are_paired_with_the_observation_of_their_own_time",
            ),
            (CAMERAS, "frames_and_observation_of_different_times_stop_the_robot"),
            ("tests/cameras.rs", CAMERAS_WHOLE),
        ],
    ),
    (
        86,
        "the server of a strong policy (openpi, vla-eval) is late",
        "as row 3, at its `deadline_ms`; its late answer is for nobody, and no other question is asked before the next episode",
        "the rest of its chunk",
        &[(SERVED_RUN, LOST_SERVER), (SERVERS, "a_late_answer_is_for_nobody")],
    ),
    (
        87,
        "the server of a strong policy dies in the middle of an answer, or is not there at the start",
        "as row 3; refused at start, with its address",
        "the rest of its chunk",
        &[
            (SERVED_RUN, LOST_SERVER),
            (SERVERS, "a_server_that_is_not_there_yet_or_is_another_is_refused_with_what_is_valid"),
        ],
    ),
    (
        88,
        "the server of a strong policy answers with an error in words",
        "as row 3; its last line is in the log, with its address",
        "the rest of its chunk",
        &[
            (SERVED_RUN, LOST_SERVER),
            (SERVERS, "what_a_server_does_wrong_is_an_error_that_says_it_and_the_next_episode_begins_anew"),
        ],
    ),
    (
        89,
        "the server of a strong policy answers with another shape, or with what is no number",
        "as row 3; the log says what was found and what the card says",
        "the rest of its chunk",
        &[
            (SERVED_RUN, LOST_SERVER),
            (SERVERS, "what_a_server_does_wrong_is_an_error_that_says_it_and_the_next_episode_begins_anew"),
        ],
    ),
    (
        90,
        "the server of a strong policy is started again with other metadata",
        "it is not asked: the log says what it says of itself and what the card says; then as row 3",
        "the rest of its chunk",
        &[
            (SERVED_RUN, "a_server_that_comes_back_as_another_is_not_asked"),
            (SERVERS, "a_server_that_is_not_there_yet_or_is_another_is_refused_with_what_is_valid"),
        ],
    ),
    (
        91,
        "a watchdog beside the robot: commands cease while one moves the robot, because the controller was killed or suspended",
        "trip, latched: the plant is stopped by its own means and refuses resets and actions; a controller that goes on, or another one, changes nothing",
        "`silence_ms`, then a period",
        &[
            (WATCHDOG, "a_controller_that_is_suspended_stops_the_robot_and_cannot_undo_it_when_it_goes_on"),
            (
                WATCHDOG,
                "a_run_that_is_killed_while_it_drives_is_a_trip_and_no_other_controller_drives_after_it",
            ),
            (JUDGE, "commands_may_cease_where_the_plant_stands_still"),
        ],
    ),
    (
        92,
        "a watchdog: a command jumps, where it is sent or where it is executed",
        "trip, as row 100",
        "on arrival",
        &[
            (WATCHDOG, "a_jump_stops_the_robot"),
            (JUDGE, "a_jump_trips_where_it_is_sent_and_where_it_is_executed"),
        ],
    ),
    (
        93,
        "a watchdog: a command leaves the bounds of the watchdog's file",
        "trip, as row 100",
        "on arrival",
        &[(WATCHDOG, "a_command_out_of_bounds_stops_the_robot")],
    ),
    (
        94,
        "a watchdog: a command holds a value that is not finite, or has another width",
        "trip, as row 100; the plant drops it as well",
        "on arrival",
        &[
            (WATCHDOG, "a_command_that_is_not_a_number_stops_the_robot"),
            (JUDGE, "a_value_out_of_bounds_or_not_finite_trips_wherever_it_is_seen"),
        ],
    ),
    (
        95,
        "a watchdog: a second controller sends commands",
        "trip, as row 100; the plant drops them as well",
        "a second, in which the plant may still name a new controller",
        &[
            (WATCHDOG, "a_second_controller_stops_the_robot"),
            (JUDGE, "a_new_controller_may_be_heard_before_the_plant_names_it"),
        ],
    ),
    (
        96,
        "a watchdog: a step is sent again, or an older one, or bytes that are no action",
        "trip, as row 100",
        "on arrival",
        &[
            (WATCHDOG, "a_step_that_was_sent_before_stops_the_robot"),
            (WATCHDOG, "what_is_no_action_stops_the_robot"),
            (JUDGE, "an_old_step_trips"),
        ],
    ),
    (
        97,
        "a watchdog: the plant says no more what it executes while it is driven, or sends no heartbeat while it is claimed",
        "trip, as row 100; the stop is asked for until the plant answers",
        "`silence_ms`; for a heartbeat a second at least",
        &[
            (WATCHDOG, "a_robot_whose_server_is_suspended_is_stopped_when_it_goes_on"),
            (JUDGE, "a_plant_that_says_no_more_what_it_executes_trips"),
            (JUDGE, "a_plant_that_is_held_and_sends_no_heartbeat_trips_and_one_that_nobody_holds_does_not"),
        ],
    ),
    (
        98,
        "a watchdog has tripped, and whoever wants the robot to go on",
        "only a reset at the watchdog's own terminal, or a new start of it, ends the trip",
        "none",
        &[
            (WATCHDOG, "only_an_operator_at_the_watchdogs_terminal_ends_a_trip"),
            (JUDGE, "a_trip_stays_until_an_operator_resets_it"),
            ("sim_bridge/link/tests/host.rs", "a_watchdogs_stop_outlives_whatever_a_controller_asks_for"),
            (PYTHON, "test_a_watchdogs_stop_outlives_whatever_a_controller_asks_for"),
        ],
    ),
    (
        99,
        "a watchdog of a plant that does not say what it executes, or with bounds that are another plant's",
        "refused, naming the plant, or file and field",
        AT_START,
        &[
            (WATCHDOG, "a_plant_that_says_not_what_it_executes_is_refused"),
            (WATCHDOG, "bounds_that_are_wrong_or_of_another_plant_are_refused_with_file_and_field"),
        ],
    ),
    (
        110,
        "an operator's first command is far from the robot's last one, in any channel",
        "never executed: the robot holds still; refused, counted, and answered with its distance by channel",
        SAME_PERIOD,
        &[
            (
                TELEOP,
                "a_first_command_far_from_the_robot_is_never_executed_and_the_operator_is_told_how_far_it_is",
            ),
            (BACKUP, "a_first_command_near_the_last_one_takes_over_and_another_is_told_how_far_it_is"),
        ],
    ),
    (
        111,
        "an operator's first command is not finite, or of another length",
        "refused and counted; the robot holds still",
        SAME_PERIOD,
        &[
            (TELEOP, "a_first_command_that_is_not_finite_or_of_another_length_is_refused"),
            (BACKUP, "a_first_command_that_cannot_be_executed_is_refused"),
        ],
    ),
    (
        112,
        "an operator who drives sends a value that is not finite, or more or fewer values than channels",
        "safe stop from the last command; it is never executed",
        SAME_PERIOD,
        &[
            (TELEOP, "a_value_that_is_not_finite_while_a_person_drives_is_a_safe_stop"),
            (TELEOP, "a_command_of_another_length_while_a_person_drives_is_a_safe_stop"),
        ],
    ),
    (
        113,
        "the stream of an operator who drives ceases, or their process is killed",
        "safe stop",
        "`stream_timeout_ms`",
        &[
            (TELEOP, "a_stream_that_dies_while_a_person_drives_is_a_safe_stop"),
            (TELEOP, "an_operators_process_that_is_killed_while_they_drive_is_a_safe_stop"),
        ],
    ),
    (
        114,
        "nobody answers a call",
        "the robot holds still, then makes a safe stop",
        "`answer_within_ms`",
        &[
            (TELEOP, "a_call_that_nobody_answers_is_a_safe_stop_after_the_time_for_an_answer"),
            (BACKUP, "nobody_answers_and_the_robot_stops_after_the_time_for_an_answer"),
        ],
    ),
    (
        115,
        "an operator lets go",
        "the robot holds still until the weak policy has inferred anew, which then drives; if it is lost, safe stop",
        "`release_after_ms` and one inference",
        &[
            (TELEOP, "an_operator_takes_over_without_a_jump_and_the_weak_policy_drives_when_they_let_go"),
            (BY_HAND, "the_weak_policy_infers_in_shadow_and_no_score_takes_control_from_a_person"),
        ],
    ),
    (
        116,
        "commands of an operator for another claim, episode or call, old ones, and ones that were long on their way",
        "dropped and counted; the person drives on",
        "at once",
        &[
            (
                TELEOP,
                "commands_of_another_claim_or_episode_and_old_ones_are_dropped_and_counted_and_the_person_drives_on",
            ),
            (BACKUP, "old_late_and_foreign_commands_and_those_without_a_call_are_dropped"),
        ],
    ),
    (
        117,
        "two operators at once",
        "the first to answer drives; the other is dropped and counted, and takes nothing over when the first is gone",
        SAME_PERIOD,
        &[
            (TELEOP, "of_two_operators_the_first_drives_and_the_other_takes_nothing_over"),
            (BACKUP, "of_two_operators_the_first_drives_and_the_other_is_dropped"),
        ],
    ),
    (
        118,
        "somebody without an operator's certificate sends commands to drive by hand, or without a controller's a call",
        "dropped by access control",
        "at once",
        &[
            ("tests/security.rs", "only_an_operator_drives_by_hand_and_only_a_controller_calls"),
            (TLS, "test_an_operators_program_answers_a_controllers_call_and_no_other_certificate_can"),
        ],
    ),
    (
        119,
        "joint states of a ROS 2 robot are lost, frozen (the same stamp), dated backward, not finite, or lack a joint or velocities",
        "the message is refused, with the joint's name; no command is passed on beyond `max_age_ms`; the robot is told to hold where it \
         was measured last, again and again; no episode begins, except that a clock that was set back counts from the next reset on",
        "`max_age_ms` and a period",
        &[
            (ROS2, "joint_states_that_are_lost_frozen_or_wrong_stop_a_robot_of_ros"),
            ("sim_bridge/ros2/src/joints.rs", "what_is_missing_or_no_number_is_said_by_joint"),
            ("sim_bridge/ros2/src/stream.rs", "of_each_message_the_first_counts_and_none_that_is_older"),
        ],
    ),
    (
        120,
        "joint states of a ROS 2 robot come in another order, or with more joints",
        "none: joints are found by name",
        "none",
        &[
            (ROS2, "joints_of_a_robot_of_ros_are_found_by_name_wherever_they_stand"),
            ("sim_bridge/ros2/src/joints.rs", "joints_are_found_by_name_and_others_are_passed_over"),
        ],
    ),
    (
        121,
        "a second node publishes the joint states of a ROS 2 robot, or commands to it",
        "the robot is stopped; no episode begins, and the refusal names the nodes",
        "a period after the node is announced",
        &[
            (ROS2, "a_second_publisher_of_joint_states_or_of_commands_stops_a_robot_of_ros"),
            ("sim_bridge/ros2/src/graph.rs", "a_topic_has_one_publisher_of_its_type"),
        ],
    ),
    (
        122,
        "the node of a ROS 2 robot is killed, and started anew where the robot stands elsewhere",
        "no command is passed on; nothing of before moves the new one; a reset drives it",
        "a period after the node is gone",
        &[(ROS2, "a_robot_of_ros_that_is_started_anew_elsewhere_is_not_moved_before_a_reset")],
    ),
    (
        123,
        "a topic of a ROS 2 robot has another type, or the type of another distribution",
        "refused, with both types and their hashes; a router that is not there, with its address",
        AT_START,
        &[
            (ROS2, "a_topic_of_another_type_is_refused_with_both_named"),
            ("sim_bridge/ros2/src/graph.rs", "the_same_type_with_another_hash_is_another_type"),
        ],
    ),
    (
        124,
        "the controller of a ROS 2 robot is killed, lets go or ends, or the robot's server is told to end",
        "velocities of zero, or a hold where the robot was measured, again until its joints are at rest; where they are not, the \
         server says so and exits with 1",
        "the plant's command timeout; at once at an end",
        &[
            (ROS2, "a_robot_of_ros_that_takes_velocities_is_told_zero_when_its_controller_is_killed"),
            (ROS2, "a_server_that_ends_leaves_a_robot_of_ros_at_rest_and_says_where_it_is_not"),
            (HOST, "a_robot_that_nobody_drives_any_more_is_brought_to_rest"),
            (HOST, "a_robot_that_stands_by_its_own_means_has_stopped_once_it_says_so"),
        ],
    ),
    (
        125,
        "a picture of a ROS 2 camera has another size or format, or is none",
        "refused, with what was found and what the file says; never a frame of the plant; then as row 50",
        "none",
        &[(ROS2, "pictures_of_a_camera_of_ros_are_passed_on_as_they_are_and_wrong_ones_are_not")],
    ),
    (
        126,
        "bytes that are no message of ROS 2, with any length fields",
        "refused; memory in proportion to the bytes that are there",
        "none",
        &[
            ("sim_bridge/ros2/tests/messages.rs", "a_length_field_reserves_nothing_that_is_not_there"),
            ("sim_bridge/ros2/tests/messages.rs", "no_bytes_lead_to_a_panic_or_a_large_allocation"),
            (
                "sim_bridge/ros2/tests/messages.rs",
                "no_change_of_a_message_leads_to_a_panic_or_a_large_allocation",
            ),
        ],
    ),
    (
        127,
        "observations cannot be saved: the disk is full, or they come faster than they are written",
        "run and record go on; what is missing is counted in summary and file, and left out of a data set",
        "none",
        &[
            (EXPORT, "a_disk_that_is_full_ends_the_file_of_observations_and_neither_the_run_nor_its_record"),
            (
                "controller/robot/src/observation_recorder.rs",
                "a_full_queue_drops_and_counts_and_jpeg_bytes_stay_as_they_came",
            ),
        ],
    ),
    (
        128,
        "a run is exported that was killed, or whose files are cut or damaged",
        "read up to the last whole entry, and said; rows without their observation are left out",
        "none",
        &[
            (
                EXPORT,
                "a_run_that_is_killed_is_exported_up_to_its_end_and_one_without_the_setting_has_no_observations",
            ),
            (EXPORT, "a_run_becomes_a_data_set_whose_rows_are_what_was_recorded"),
        ],
    ),
    (
        129,
        "a stored episode comes out otherwise when an export simulates it again",
        "refused, naming the episode; no data set is left",
        "none",
        &[(EXPORT, "stored_episodes_are_simulated_again_and_their_rows_are_those_of_the_trace")],
    ),
    (
        130,
        "a joint state of a ROS 2 robot is finite and cannot be right, or is old, when the robot is stopped or an episode begins",
        "an arm is held at its last command; a joint that seems to stand beyond its bounds begins no episode, and is named",
        "none",
        &[
            (ROS2, "a_robot_of_ros_is_held_at_its_last_command_where_a_reading_cannot_be_right"),
            (
                "sim_bridge/ros2/src/command.rs",
                "a_stop_holds_the_last_command_where_a_reading_cannot_be_the_robots",
            ),
            (
                "sim_bridge/ros2/src/command.rs",
                "no_command_begins_from_a_pose_beyond_the_bounds_or_leads_there",
            ),
        ],
    ),
    (
        131,
        "one message of a ROS 2 robot's joints or cameras has a stamp of a later time",
        "those after it are refused, which stops the robot; the next reset dates messages anew",
        "`max_age_ms` and a period",
        &[
            (ROS2, "one_stamp_of_a_later_time_stops_a_robot_of_ros_until_its_next_reset_only"),
            (
                "sim_bridge/ros2/src/stream.rs",
                "stamps_that_were_forgotten_refuse_nothing_and_a_message_still_counts_once",
            ),
        ],
    ),
    (
        132,
        "a terminal suspends the server of a ROS 2 robot (Ctrl-Z, or in the background)",
        "the robot is stopped and the server ends, as at SIGTERM",
        "at once",
        &[(ROS2, "a_terminal_that_suspends_the_server_of_a_robot_of_ros_stops_it")],
    ),
    (
        133,
        "the server of a ROS 2 robot is killed, and leaves it in motion by velocities",
        "a new server warns; a watchdog's stop, a reset and the server's end send zeros; where the joints do not come to rest, the \
         server says so and exits with 1",
        "at once",
        &[
            (ROS2, "a_robot_of_ros_that_a_killed_server_left_in_motion_is_stopped_by_the_next_one"),
            (HOST, "a_robot_that_may_have_been_left_in_motion_is_stopped_without_a_command_of_this_server"),
        ],
    ),
    (
        134,
        "the files of two runs are mixed in one folder, or a run is given twice, and it is exported",
        "refused, naming the first observation that came at another time, or both sources; no data set is left",
        "none",
        &[(EXPORT, "a_run_becomes_a_data_set_whose_rows_are_what_was_recorded")],
    ),
    (
        135,
        "a signal ends an export",
        "nothing of the data set is left; exit code 5",
        "none",
        &[(EXPORT, "stored_episodes_are_simulated_again_and_their_rows_are_those_of_the_trace")],
    ),
    (
        136,
        "the process of a trial is killed in an attempt, and the record is gone or cut",
        "the attempt counts: only the process itself can say that nothing moved",
        "none",
        &[(
            TRIAL,
            "an_attempt_whose_process_is_gone_counts_whatever_its_record_says_and_a_suspension_stops_the_robot",
        )],
    ),
    (
        137,
        "the log of a trial is cut, forged or contradicted by its records or its lock",
        "no further episode over a record that the log does not know; `verify` names each contradiction",
        "none",
        &[(TRIAL, "a_log_that_was_cut_or_forged_contradicts_its_records_and_is_noticed")],
    ),
    (
        138,
        "Ctrl-Z (SIGTSTP) while the robot moves",
        "safe stop; the controller is not suspended",
        "50 ms and the next period",
        &[(
            TRIAL,
            "an_attempt_whose_process_is_gone_counts_whatever_its_record_says_and_a_suspension_stops_the_robot",
        )],
    ),
    (
        139,
        "an operator's program fails while the person drives: a leader arm's error, a script's channel that is not there",
        "it lets go; the weak policy drives",
        "`release_after_ms`",
        &[
            (TELEOP, "an_operators_program_that_fails_while_it_drives_lets_go"),
            (
                "sim_bridge/link/python/test_aegis_teleop.py",
                "test_of_a_device_that_fails_lets_go_and_says_why_in_one_line",
            ),
        ],
    ),
];

#[test]
fn every_fault_has_its_tests() {
    // Numbers may be missing: such a fault is not handled yet.
    assert!(ROWS.is_sorted_by_key(|(number, ..)| *number) && ROWS[35].0 == 36);
    for (number, _, _, _, tests) in ROWS {
        assert!(!tests.is_empty(), "row {number}");
        for (file, function) in tests {
            let text = std::fs::read_to_string(common::repository().join(file)).expect("the test's file");
            assert!(
                text.contains(&format!("fn {function}(")) || text.contains(&format!("def {function}(")),
                "row {number}: {file} lacks {function}"
            );
        }
    }
}

#[test]
fn the_page_says_what_the_table_says() {
    let mut page = String::from(
        "# Faults\n\nWhat the controller survives, how, and how soon. Written from the table in `tests/faults.rs`, \
         which names a test for each row\n(`AEGIS_WRITE_FAULTS=1 cargo test --release --test integration faults` writes it anew). A \
         period is one control period. Times are\nbounds by construction, held in those tests; what this machine adds is \
         in `aegis bench loop`.\n\n| # | fault | response | time to respond | tests |\n|---|---|---|---|---|\n",
    );
    for (number, fault, response, time, tests) in ROWS {
        let names: Vec<String> =
            tests.iter().map(|(file, function)| format!("[`{function}`](../../{file})")).collect();
        writeln!(page, "| {number} | {fault} | {response} | {time} | {} |", names.join(", ")).unwrap();
    }
    let path = common::repository().join("docs/reference/faults.md");
    if std::env::var_os("AEGIS_WRITE_FAULTS").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "docs/reference/faults.md is old: AEGIS_WRITE_FAULTS=1 cargo test --release --test integration faults"
    );
}
