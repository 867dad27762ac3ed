#include "worker/vision/tiles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace inferpool::vision {
namespace {

InputLayout Square(int side) {
  InputLayout layout;
  layout.size = {side, side};
  return layout;
}

TEST(GridForTest, APictureThatTheInputShowsAsItIsIsNotCut) {
  for (const cv::Size size : {cv::Size(1, 1), {320, 320}, {320, 100}, {400, 400}}) {
    EXPECT_EQ(GridFor(size, Square(320), 0.2, 64), (TileGrid{1, 1})) << size.width;
  }
  EXPECT_EQ(GridFor({401, 100}, Square(320), 0.2, 64), (TileGrid{2, 1}));
}

TEST(GridForTest, ATileIsAboutAsLargeAsTheInput) {
  EXPECT_EQ(GridFor({1280, 720}, Square(640), 0.2, 64), (TileGrid{2, 1}));
  // 1920 / (3 - 2 * 0.2) = 738 of 800; 1080 / (2 - 0.2) = 600.
  EXPECT_EQ(GridFor({1920, 1080}, Square(640), 0.2, 64), (TileGrid{3, 2}));
  EXPECT_EQ(GridFor({1920, 1080}, Square(640), 0, 64), (TileGrid{3, 2}));
  InputLayout wide;
  wide.size = {640, 320};
  EXPECT_EQ(GridFor({800, 800}, wide, 0, 64), (TileGrid{1, 2}));
}

TEST(GridForTest, AnOpenSideIsAsLongAsItMayBe) {
  InputLayout open;
  open.size = {};
  open.max_side = 1280;
  EXPECT_EQ(GridFor({1600, 1600}, open, 0.2, 64), (TileGrid{1, 1}));
  EXPECT_EQ(GridFor({3200, 1000}, open, 0, 64), (TileGrid{2, 1}));
}

TEST(GridForTest, ThereAreNeverMoreThanAllowed) {
  for (const cv::Size size : {cv::Size(3840, 2160), {65'500, 900}, {900, 65'500}, {8000, 8000}}) {
    for (const int most : {1, 2, 7, 64, 256}) {
      for (const double overlap : {0.0, 0.2, 0.5}) {
        const TileGrid grid = GridFor(size, Square(320), overlap, most);
        EXPECT_LE(grid.columns * grid.rows, most) << size.width << " " << most;
        EXPECT_GE(std::min(grid.columns, grid.rows), 1);
      }
    }
  }
  const TileGrid grid = GridFor({3840, 2160}, Square(320), 0.2, 64);
  EXPECT_GE(grid.columns * grid.rows, 50);
}

TEST(CutIntoTilesTest, TheyCoverThePartAndShareTheirBorders) {
  const cv::Rect part(100, 50, 1001, 777);
  for (const TileGrid grid : {TileGrid{1, 1}, {4, 3}, {7, 1}, {1, 9}, {16, 16}}) {
    for (const double overlap : {0.0, 0.2, 0.5}) {
      const auto tiles = CutIntoTiles(part, grid, overlap);
      ASSERT_EQ(tiles.size(), static_cast<std::size_t>(grid.columns * grid.rows));
      EXPECT_EQ(tiles.front().tl(), part.tl());
      EXPECT_EQ(tiles.back().br(), part.br());
      for (std::size_t i = 0; i < tiles.size(); ++i) {
        EXPECT_EQ(tiles[i].size(), tiles[0].size());
        EXPECT_EQ(tiles[i] & part, tiles[i]);
        if (i % static_cast<std::size_t>(grid.columns) == 0) continue;
        const cv::Rect& before = tiles[i - 1];
        EXPECT_EQ(before.y, tiles[i].y);
        EXPECT_GE(before.br().x - tiles[i].x, overlap * tiles[i].width - 2);
        EXPECT_LE(before.br().x - tiles[i].x, overlap * tiles[i].width + 4);
      }
    }
  }
}

TEST(CutIntoTilesTest, ASingleTileIsThePartItself) {
  EXPECT_EQ(CutIntoTiles({3, 4, 50, 60}, {1, 1}, 0.2), (std::vector{cv::Rect(3, 4, 50, 60)}));
}

TEST(SensibleTest, NoTileIsTiny) {
  EXPECT_EQ(Sensible({64, 1}, {10, 10}), (TileGrid{1, 1}));
  EXPECT_EQ(Sensible({8, 8}, {100, 2000}), (TileGrid{3, 8}));
  EXPECT_EQ(Sensible({4, 3}, {3840, 2160}), (TileGrid{4, 3}));
  EXPECT_EQ(CutIntoTiles({0, 0, 1, 1}, Sensible({8, 8}, {1, 1}), 0.2),
            (std::vector{cv::Rect(0, 0, 1, 1)}));
}

}  // namespace
}  // namespace inferpool::vision
