// The memory that two processes share, and the waiting that goes with it. No policy and no threads
// of its own. Read in this order:
//
//   layout.h       every shared byte: who writes it, what it means, where it is
//   region.h       sealed memfds; Untrusted, the only way to look at memory a peer can change
//   arena.h        room for payloads, with private books
//   handshake.h    the socket: credentials, versions, passing descriptors
//   wait.h         spin, then sleep, without losing a wake-up
//   connection.h   the sidecar's end: take requests, put replies      } one protocol,
//   link.h         the client's end: publish calls, wait for answers  } seen from both sides
//   list_call.h    one list of texts on a link: cut into requests, a few ahead
//   cache_layout.h region C, the result cache, and the page that clients write about it
//   cache_reader.h the client's look into it, which needs nobody   (cache_copy.h, cache_clock.h:
//   its
//                  parts)
//   cache_key.h    what a cached answer is called
//   lookup.h       which rows of a list are cached; the rest is left to a list_call
//   client.h       what a C++ application links: reconnects, long lists, many threads
//   nacelle.h      the same for C, and for the Python package in python/
//
// docs/formats/shm.md and cache.md are the same layouts as documents. This header is what sidecar/
// includes.
#pragma once

#include "shm/carry.h"
#include "shm/connection.h"
#include "shm/handshake.h"
#include "shm/layout.h"
#include "shm/wait.h"
