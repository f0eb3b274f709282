#include "tests/explorer/programs.h"

#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "sidecar/base/check.h"
#include "tests/explorer/sides.h"

namespace nacelle::explorer {
namespace {

using Taken = Connection::Taken;
constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kSeqCst = std::memory_order_seq_cst;

void check(bool good, const char* what) { World::current().check(good, what); }

// --- the sidecar ---

using Handle = std::function<void(const Taken&)>;

// Intake::sweep_client. True when there was something.
bool sweep(Connection& connection, const Handle& handle) {
  bool worked = false;
  for (std::uint32_t cursor = 0;;) {
    const std::optional<Taken> taken = connection.take(&cursor);
    if (!taken) return worked;
    worked = true;
    handle(*taken);
  }
}

// Intake::run without spinning, and Intake::sleep.
void intake(Connection& connection, const Handle& handle, const std::function<void()>& rang) {
  for (;;) {
    if (sweep(connection, handle)) continue;
    if (connection.violated()) return;
    if (has(Bug::kSweepsBeforeRaisingAsleep)) sweep(connection, handle);
    connection.set_asleep(true);
    const bool looks =
        !has(Bug::kSweepsBeforeRaisingAsleep) && !has(Bug::kSleepsWithoutASecondSweep);
    if (!looks || !sweep(connection, handle)) {
      World::current().await({&connection.regions().doorbell}, 1);
      if (rang) rang();
    }
    connection.set_asleep(false);
  }
}

// What the sidecar does with a request that needs no model.
void answer(Connection& connection, const Taken& taken) {
  const bool refused = !taken.room || connection.cancelled(taken);
  connection.complete(taken, refused ? kRefused : reply_to(taken.payload));
  if (has(Bug::kAnswersTwice)) connection.complete(taken, kRefused);
}

// One connection, its client, and an intake that answers by itself.
struct Direct {
  explicit Direct(Kind kind) : connection(regions, kind) {}
  Regions regions;
  Client client{regions};
  Connection connection;
};

Direct& direct(World& world, Kind kind) {
  auto made = std::make_shared<Direct>(kind);
  Direct& state = *made;
  world.keep(std::move(made));
  world.spawn("intake", 0, true, [&state] {
    intake(state.connection, [&state](const Taken& taken) { answer(state.connection, taken); }, {});
  });
  world.at_end([&state] {
    check(!state.connection.violated(), "an honest client broke the protocol");
    check(state.connection.all_answered(), "a request was not answered");
  });
  return state;
}

// --- calls ---

void call(Client& client, std::uint64_t payload) {
  const std::optional<Ticket> ticket = client.submit(payload);
  check(ticket.has_value(), "a slot was lost");
  check(client.wait(*ticket) == reply_to(payload), "a wrong reply");
}

// Two threads of a client call at the same time, in whatever slots they get.
void calls(World& world) {
  Direct& state = direct(world, Kind::kCall);
  world.spawn("caller 1", 0, false, [&state] { call(state.client, 11); });
  world.spawn("caller 2", 0, false, [&state] { call(state.client, 21); });
}

// A slot is used again and again.
void reuse(World& world) {
  Direct& state = direct(world, Kind::kCall);
  world.spawn("caller", 0, false, [&state] {
    for (std::uint64_t i = 1; i <= 3; ++i) call(state.client, i);
  });
}

// Replies that lie in the arena, which has room for one: the room is lent again once it has been
// read, and before that there is none.
void arena(World& world) {
  Direct& state = direct(world, Kind::kArena);
  const auto caller = [&state](std::uint64_t payload) {
    const std::optional<Ticket> ticket = state.client.submit(payload, Kind::kArena);
    check(ticket.has_value(), "a slot was lost");
    const std::uint64_t reply = state.client.wait(*ticket);
    check(reply == reply_to(payload) || reply == kRefused, "a wrong reply");
  };
  world.spawn("caller 1", 0, false, [caller] { caller(11); });
  world.spawn("caller 2", 0, false, [caller] { caller(21); });
}

// A call is given up; its slot comes back once it has been answered, and what was asked before or
// after it in whatever slot is answered rightly.
void cancel(World& world) {
  Direct& state = direct(world, Kind::kCall);
  world.spawn("caller", 0, false, [&state] {
    Client& client = state.client;
    const std::optional<Ticket> first = client.submit(1);
    check(first.has_value(), "a slot was lost");
    if (client.replied(*first)) {
      const std::uint64_t reply = client.read_and_finish(*first);
      check(reply == reply_to(1), "a wrong reply");
    } else {
      client.cancel(*first);
    }
    for (std::uint64_t payload = 2; payload <= 3; ++payload) call(client, payload);
  });
}

// A caller that polls: two calls at a time, three in all, and a byte on the socket for whichever is
// answered.
void polling(World& world) {
  Direct& state = direct(world, Kind::kCall);
  world.spawn("poller", 0, false, [&state] {
    constexpr std::uint64_t kCalls = 3;
    struct Call {
      std::optional<Ticket> ticket;
      std::uint64_t payload = 0;
      std::uint64_t round = 0;
    };
    Client& client = state.client;
    std::array<Call, kSlots> calls;
    std::uint64_t sent = 0;
    // Link::begin_look.
    std::uint64_t poll_round = 1;
    const auto begin_look = [&](Call& call) {
      if (call.round == poll_round || has(Bug::kDrainsAtEveryLook)) {
        World::current().drain(client.socket());
        poll_round += 1;
      }
      call.round = poll_round;
    };
    // Pending::advance and ListRun::advance.
    const auto advance = [&](Call& call) {
      if (!has(Bug::kDrainsAfterLooking)) begin_look(call);
      const bool there = client.replied(*call.ticket) || client.poll(*call.ticket);
      if (has(Bug::kDrainsAfterLooking)) begin_look(call);
      if (!there) return;
      const std::uint64_t reply = client.read_and_finish(*call.ticket);
      check(reply == reply_to(call.payload), "a wrong reply");
      call.ticket.reset();
    };
    // Client::start, and a first look at once.
    const auto start = [&](Call& call) {
      while (!call.ticket && sent < kCalls) {
        call = {.ticket = client.submit(++sent), .payload = sent, .round = 0};
        check(call.ticket.has_value(), "a slot was lost");
        if (!has(Bug::kLooksLate)) {
          advance(call);
        } else if (client.poll(*call.ticket)) {
          advance(call);
        }
      }
    };
    for (Call& call : calls) start(call);
    while (calls[0].ticket || calls[1].ticket) {
      World::current().await({&client.socket()}, 0);
      for (Call& call : calls) {
        if (call.ticket) advance(call);
        start(call);
      }
    }
  });
}

// --- streams ---

constexpr std::uint64_t kGivenUp = 500;  // a payload whose stream the reader gives up

// The sidecar with a thread that streams: sidecar/streamer.cc.
struct Streaming {
  Regions regions;
  Client client{regions};
  Connection connection{regions, Kind::kStream};
  Queue<Taken> added{"a stream to serve"};
  Object room{.name = "room in a ring"};
};

std::uint64_t piece_of(std::uint64_t payload, std::uint64_t index) { return payload * 10 + index; }

// Streamer::turn and Streamer::write, for one stream. `pieces` of them, then the end.
void serve(Streaming& state, const Taken& taken, std::uint64_t pieces) {
  Connection& connection = state.connection;
  connection.open_stream(taken);
  std::uint64_t written = 0;
  for (;;) {
    if (connection.cancelled(taken)) return connection.complete(taken, kRefused);
    bool parked = false;
    const std::uint64_t before = written;
    while (written < pieces && !parked) {
      if (connection.write_piece(taken.slot, piece_of(taken.payload, written))) {
        ++written;
      } else {
        parked = true;
      }
    }
    if (written != before) connection.publish_pieces(taken.slot);
    if (parked && !connection.park_stream(taken.slot)) parked = false;
    if (written == pieces) return connection.complete(taken, written);
    if (parked) World::current().await({&state.room}, 1);
  }
}

Streaming& streaming(World& world, std::uint64_t pieces) {
  auto made = std::make_shared<Streaming>();
  Streaming& state = *made;
  world.keep(std::move(made));
  world.spawn("intake", 0, true, [&state] {
    // Intake::look_at_sockets hands every bell on to Streamer::room.
    intake(
        state.connection, [&state](const Taken& taken) { state.added.push(taken); },
        [&state] { World::current().signal(state.room); });
  });
  world.spawn("streamer", 0, true, [&state, pieces] {
    for (;;) serve(state, state.added.pop(), pieces);
  });
  world.at_end([&state] {
    check(!state.connection.violated(), "an honest client broke the protocol");
    check(state.connection.all_answered(), "a stream did not end");
  });
  return state;
}

// Reads a stream to its end.
void read_stream(Client& client, std::uint64_t payload, std::uint64_t pieces) {
  std::optional<Client::Stream> stream = client.submit_stream(payload);
  check(stream.has_value(), "a slot was lost");
  std::uint64_t next = 0;
  while (const std::optional<std::uint64_t> piece = client.next_piece(*stream)) {
    check(*piece == piece_of(payload, next), "a piece is lost, double or of another stream");
    ++next;
  }
  check(next == pieces, "the stream ended before its last piece");
  client.finish(stream->call);
}

// A stream that is longer than its ring, so that it waits for its reader.
void stream(World& world) {
  Streaming& state = streaming(world, 4);
  world.spawn("reader", 0, false, [&state] { read_stream(state.client, 1, 4); });
}

// One stream after the other, the first given up after its first piece: the second one gets the
// same slot when the sidecar has noticed by then.
void streams_again(World& world) {
  Streaming& state = streaming(world, 3);
  world.spawn("reader", 0, false, [&state] {
    std::optional<Client::Stream> first = state.client.submit_stream(kGivenUp);
    check(first.has_value(), "a slot was lost");
    const std::optional<std::uint64_t> piece = state.client.next_piece(*first);
    check(piece == piece_of(kGivenUp, 0), "a wrong piece");
    state.client.cancel(first->call);
    // A parked stream is looked at every 20 ms for this.
    World::current().signal(state.room);
    read_stream(state.client, 2, 3);
  });
}

// --- death and lies ---

// A sidecar with a thread that computes. Clients come one after the other: there is room for the
// memory of one.
struct Crowd {
  Regions first;
  Regions second;
  Client dying{first};
  Connection connection{first, Kind::kCall};
  Connection next_connection{has(Bug::kLendsADeadClientsMemory) ? first : second, Kind::kCall};
  Client next{has(Bug::kLendsADeadClientsMemory) ? first : second};
  Word<std::uint32_t> owners{"owners of the first connection", -1, 1};
  Word<std::uint32_t> closed{"closed"};
  Object admitted{.name = "a welcome"};
  struct Job {
    Connection* connection;
    Taken taken;
  };
  Queue<Job> jobs{"a request to compute"};
  Object done{.name = "something done"};
};

// Executor and Replier: answers, and lets go of the client.
void executor(Crowd& state) {
  for (;;) {
    const Crowd::Job job = state.jobs.pop();
    const bool first = job.connection == &state.connection;
    if (first && has(Bug::kForgetsARequestOfADeadClient) && state.closed.load(kRelaxed) != 0) {
      continue;
    }
    job.connection->complete(job.taken, reply_to(job.taken.payload));
    if (first) {
      state.owners.fetch_add(~0U, std::memory_order_acq_rel);
      World::current().signal(state.done);
    }
  }
}

// Intake::run, with the hang-up of its first client, and the next one that waits for a place.
void reception(Crowd& state) {
  Connection* connected = &state.connection;
  Object& hang_up = World::current().hang_up(1);
  bool guest = true;
  const auto handle = [&](const Taken& taken) {
    if (connected == &state.connection) state.owners.fetch_add(1, kRelaxed);
    state.jobs.push({connected, taken});
  };
  for (;;) {
    if (connected != nullptr) {
      if (sweep(*connected, handle)) continue;
      connected->set_asleep(true);
    }
    if (connected == nullptr) {
      World::current().await({&state.done}, 1);
    } else if (!sweep(*connected, handle)) {
      if (connected == &state.next_connection) {
        World::current().await({&connected->regions().doorbell}, 1);
      } else if ((World::current().await({&connected->regions().doorbell, &hang_up}, 1) & 2U) !=
                 0) {
        state.closed.store(1, kRelaxed);  // Intake::disconnect
        connected = nullptr;
        state.owners.fetch_add(~0U, std::memory_order_acq_rel);
      }
    }
    if (connected != nullptr) connected->set_asleep(false);
    // Intake::admit: memory is held until the last request in flight is done.
    const bool place = connected == nullptr && (has(Bug::kLendsADeadClientsMemory) ||
                                                state.owners.load(std::memory_order_acquire) == 0);
    if (guest && place) {
      guest = false;
      connected = &state.next_connection;
      World::current().calm_down();
      World::current().signal(state.admitted);
    }
  }
}

Crowd& crowd(World& world) {
  auto made = std::make_shared<Crowd>();
  Crowd& state = *made;
  world.keep(std::move(made));
  world.spawn("intake", 0, true, [&state] { reception(state); });
  world.spawn("executor", 0, true, [&state] { executor(state); });
  world.spawn("next", 0, false, [&state] {
    World::current().await({&state.admitted}, 1);
    call(state.next, 31);
  });
  world.at_end([&state] {
    check(state.connection.all_answered() && state.next_connection.all_answered(),
          "a request was not answered");
    check(state.next_connection.answered() == 1, "the next client was not answered once");
    check(!state.connection.violated(), "an honest client broke the protocol");
  });
  return state;
}

// A client of two threads that may be killed anywhere, and another one that comes when it is gone.
void crash(World& world) {
  Crowd& state = crowd(world);
  world.spawn("caller 1", 1, false, [&state] { call(state.dying, 11); });
  world.spawn("caller 2", 1, false, [&state] { call(state.dying, 21); });
}

// The same with a client of one thread that calls twice.
void crash_again(World& world) {
  Crowd& state = crowd(world);
  world.spawn("caller", 1, false, [&state] {
    call(state.dying, 11);
    call(state.dying, 12);
  });
}

// A client that publishes without waiting, gives back what it has not read, and skips a generation:
// it is found out or served, and the sidecar's own books are never touched by two at a time.
void liar(World& world) {
  struct State {
    Regions regions;
    Connection connection{regions, Kind::kArena};
    Queue<Taken> jobs{"a request to compute"};
  };
  auto made = std::make_shared<State>();
  State& state = *made;
  world.keep(std::move(made));
  world.spawn("intake", 0, true, [&state] {
    intake(state.connection, [&state](const Taken& taken) { state.jobs.push(taken); }, {});
  });
  world.spawn("executor", 0, true, [&state] {
    for (;;) {
      const Taken taken = state.jobs.pop();
      state.connection.complete(taken, taken.room ? reply_to(taken.payload) : kRefused);
    }
  });
  world.spawn("liar", 0, false, [&state] {
    Regions& shm = state.regions;
    for (Regions::Slot& slot : shm.slots) slot.payload.write(1);
    shm.slots_used.store(kSlots, kSeqCst);
    const auto publish = [&](std::uint32_t slot, std::uint64_t generation) {
      if (shm::protocol::publish<Planted>(shm.slots[slot].generation, generation, shm.asleep)) {
        World::current().signal(shm.doorbell);
      }
    };
    publish(0, 1);
    shm.slots[0].released.store(1, std::memory_order_release);
    publish(1, 1);
    publish(0, 2);
    publish(1, 5);
  });
  world.at_end([&state] {
    check(state.connection.violated(), "a lie was not found out");
    check(state.connection.all_answered(), "a request was not answered");
  });
}

constexpr Bounds kBounds{.preemptions = 3};
constexpr Bounds kWithACrash{.preemptions = 3, .crashes = 1};
const Protocol kProtocols[] = {
    {"calls", calls, kBounds},
    {"reuse", reuse, kBounds},
    {"arena", arena, kBounds},
    {"cancel", cancel, kBounds},
    {"polling", polling, kBounds},
    {"stream", stream, kBounds},
    {"streams_again", streams_again, kBounds},
    {"crash", crash, kWithACrash},
    {"crash_again", crash_again, kWithACrash},
    {"liar", liar, kBounds},
};

}  // namespace

std::span<const Protocol> protocols() { return kProtocols; }

const Protocol& protocol_named(const char* name) {
  const Protocol* found = nullptr;
  for (const Protocol& protocol : kProtocols) {
    if (std::string_view(protocol.name) == name) found = &protocol;
  }
  CHECK(found != nullptr);
  return *found;
}

}  // namespace nacelle::explorer
