// Requests that can share a batch: a lane per service, task and kind of result, and in it a line
// per client.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "sidecar/base/time.h"
#include "sidecar/flow.h"
#include "sidecar/schedule/cost.h"
#include "sidecar/schedule/flight.h"
#include "sidecar/schedule/window.h"

namespace nacelle::sidecar {

struct Sharer;
struct Lane;

// One client's flights in one lane that have windows which no batch has held, oldest first.
struct Line {
  Sharer* client = nullptr;
  Lane* lane = nullptr;
  std::deque<Flight*> flights;
  std::size_t place = 0;  // in Lane::lines, while it is not empty
};

struct Lane {
  std::uint32_t service = 0;
  model::Task task = model::Task::kEmbed;
  bool raw = false;
  std::size_t index = 0;
  std::vector<Line*> lines;  // those that are not empty, in no order
  std::uint64_t tokens = 0;  // of windows that no batch has held
  Arrivals arrivals;
  CostModel cost;

  // The lane of a request, as a small number.
  static std::size_t index_of(const Request& request) {
    return std::size_t{request.service} * 4 + (request.task == model::Task::kClassify ? 2 : 0) +
           (request.raw ? 1 : 0);
  }
  // Around the flights of one of its lines.
  void push_back(Line& line, Flight& flight) {
    enter(line);
    line.flights.push_back(&flight);
    flight.line = &line;
  }
  // One that was in another client's line: before those that have not begun, and behind none that
  // has, so that a line's begun flights are always its first.
  void insert(Line& line, Flight& flight) {
    enter(line);
    auto place = line.flights.begin();
    while (!flight.started && place != line.flights.end() && (*place)->started) ++place;
    line.flights.insert(place, &flight);
    flight.line = &line;
  }
  void remove(Flight& flight) {
    Line& line = *std::exchange(flight.line, nullptr);
    line.flights.erase(std::find(line.flights.begin(), line.flights.end(), &flight));
    if (!line.flights.empty()) return;
    lines[line.place] = lines.back();
    lines[line.place]->place = line.place;
    lines.pop_back();
  }

 private:
  void enter(Line& line) {
    if (!line.flights.empty()) return;
    line.place = lines.size();
    lines.push_back(&line);
  }
};

}  // namespace nacelle::sidecar
