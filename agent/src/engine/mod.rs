//! Containers, networks and volumes on a real Docker engine (bollard).
