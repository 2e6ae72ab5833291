//! The integration tests: the real program on real btrfs with real zypper, rpm and snapper.
//!
//! `root_*` and `kill_*` need root, loop devices and the fixture (tests/fixture), which the first of them builds; `boot_*` also
//! systemd-nspawn, for real boots. `etc_*` need root, for owners and devices.

#![allow(clippy::unwrap_used)] // in a test it says where

mod boot_apply;
mod boot_basic;
mod boot_dirs;
mod boot_etc;
mod boot_generator;
mod boot_images;
mod boot_offline;
mod boot_offline_inside;
mod boot_timer;
mod boot_tukit;
mod compat;
mod crash;
mod etc_merge;
mod fuzz_corpus;
mod fx;
mod generator;
#[path = "../support/gpg.rs"]
mod gpg;
#[path = "../support/http.rs"]
mod http;
mod kill_matrix;
mod kill_recovery;
mod kill_sweep;
mod ndb;
mod peer;
mod root_ansible;
mod root_apply;
mod root_boot;
mod root_chain;
mod root_cleanup;
mod root_clock;
mod root_dirs;
mod root_dirs_flaws;
mod root_dirs_race;
mod root_disk;
mod root_environment;
mod root_etc;
mod root_etc_plain;
mod root_etc_power;
mod root_etc_snapper;
mod root_faults;
mod root_full;
mod root_images;
mod root_install;
mod root_lock;
mod root_log;
mod root_manage;
mod root_nextroot;
mod root_nodes;
mod root_offline_boot;
mod root_offline_prepare;
mod root_offline_state;
mod root_packages;
mod root_peer;
mod root_plugins;
mod root_reboot;
mod root_recover;
mod root_refusals;
mod root_rpmdb;
mod root_scriptlets;
mod root_setup;
mod root_snapper;
mod root_state;
mod root_steps;
mod root_sysupdate_peer;
mod root_sysupdate_peer_cleanup;
mod root_sysupdate_peer_cut;
mod root_sysupdate_peer_payload;
mod root_sysupdate_peer_slots;
mod root_sysupdate_peer_states;
mod root_sysupdate_peer_verbs;
mod root_tukit;
mod root_tukit_options;
mod root_tukit_plugins;
mod rpmdb;
mod rpmdb_query;
#[path = "../support/sfdisk.rs"]
mod sfdisk;
mod soak;
mod sysupdate;
mod sysupdate_cleanup;
mod sysupdate_faults;
mod sysupdate_image;
mod sysupdate_limits;
mod sysupdate_slots;
mod sysupdate_slots_faults;
mod sysupdate_slots_update;
mod sysupdate_update;
mod sysupdate_verbs;
