// A trace of requests as Chrome's trace events, in the JSON that ui.perfetto.dev and
// chrome://tracing open.
//
//   clients    a track for each slot of a client: the request, and its stages inside
//   nacelled   intake: tokenizing; scheduler: what waits; device: batches with what is done in
//   them;
//              replier: replies
//
// Arrows lead from a request's tokenizing to the first and last batch that it was in, and on to its
// reply.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "sidecar/control/api.h"

namespace nacelle::ctl {

// Every event has name, ph, pid, tid and ts (microseconds since the first of them); complete ones
// ("X") have dur. The events of a track nest or follow each other.
nlohmann::json perfetto(const control::TraceReport& report);

}  // namespace nacelle::ctl
