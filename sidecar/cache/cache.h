// The result cache: answers under the SHA-256 of everything that decides them. Read in this order:
//
//   shm/cache_layout.h   region C and the touch page, byte by byte; what a reader may rely on
//   entry.h              an answer with its attributes
//   table.h              the cache in memory: put, get, readers, invalidation     ◀ begin here
//   geometry.h           how many bytes each part gets, so that all of them are what was configured
//   index.h              from a key to its entry, and how popular that is
//   segments.h           the memory of entries, in pieces that are written and freed as a whole
//   ghost.h              keys that were dropped not long ago
//   policy.h             which segment goes, and what of it stays
//   touches.h            what clients hit, from pages that they write
//
// Clients read region C by themselves, through shm/cache_reader.h. docs/formats/cache.md is the
// same as a document, docs/decisions/0026-the-cache-in-memory.md says why it is so.
#pragma once

#include "sidecar/cache/entry.h"
#include "sidecar/cache/table.h"
