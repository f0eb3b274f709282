// Logits to scores.
#include "sidecar/executor.h"

#include <gtest/gtest.h>

#include <cmath>

namespace nacelle::sidecar {
namespace {

TEST(Scores, SumToOneAndKeepTheirOrder) {
  float row[] = {1.0F, 3.0F, 2.0F};
  to_scores(row, 3, false);
  EXPECT_NEAR(row[0] + row[1] + row[2], 1, 1e-6);
  EXPECT_NEAR(row[1], 0.66524096, 1e-6);
  EXPECT_GT(row[2], row[0]);
}

TEST(Scores, HugeLogitsDoNotOverflow) {
  float row[] = {1000.0F, -1000.0F};
  to_scores(row, 2, false);
  EXPECT_EQ(row[0], 1.0F);
  EXPECT_EQ(row[1], 0.0F);
}

TEST(Scores, IndependentLabelsDoNotShareOne) {
  float row[] = {0.0F, 100.0F, -100.0F};
  to_scores(row, 3, true);
  EXPECT_FLOAT_EQ(row[0], 0.5F);
  EXPECT_FLOAT_EQ(row[1], 1.0F);
  EXPECT_NEAR(row[2], 0, 1e-6);
}

}  // namespace
}  // namespace nacelle::sidecar
