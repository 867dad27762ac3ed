#include "worker/vision/tile_merge.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <opencv2/imgproc.hpp>
#include <optional>
#include <utility>

namespace inferpool::vision {
namespace {

// Shares of a tile's side: a box that ends so close to a border may be cut there, and one that is
// not much farther away may be a cut object's, whose box ended too early.
constexpr double kCut = 0.015;
constexpr double kNear = 0.05;
constexpr float kLeastMargin = 2;  // pixels
// Of the whole's boxes those are small that have at most this share of a tile's sides.
constexpr double kSmallShare = 0.25;
// How much of a piece lies within the object that it is of.
constexpr float kWithin = 0.5F;
// How far two pieces of one object agree along their seam, as intersection over union.
constexpr float kAgree = 0.5F;
// More pieces than these are not joined.
constexpr std::size_t kMaxPieces = 1'000;

struct Edges {
  float x1;
  float y1;
  float x2;
  float y2;
};

Edges EdgesOf(const Detection& box) {
  return {box.x1, box.y1, box.x2, box.y2};
}

Edges EdgesOf(const cv::Rect& part) {
  return {static_cast<float>(part.x), static_cast<float>(part.y),
          static_cast<float>(part.x + part.width), static_cast<float>(part.y + part.height)};
}

Edges Common(const Edges& a, const Edges& b) {
  return {std::max(a.x1, b.x1), std::max(a.y1, b.y1), std::min(a.x2, b.x2), std::min(a.y2, b.y2)};
}

float Area(const Edges& of) {
  return std::max(0.0F, of.x2 - of.x1) * std::max(0.0F, of.y2 - of.y1);
}

float IntersectionOverUnion(const Edges& a, const Edges& b) {
  const float common = Area(Common(a, b));
  return common > 0 ? common / (Area(a) + Area(b) - common) : 0;
}

// The share of `of` that lies within `other`.
float ShareWithin(const Edges& of, const Edges& other) {
  const float common = Area(Common(of, other));
  return common > 0 ? common / Area(of) : 0;
}

float OverSmaller(const Edges& a, const Edges& b) {
  return std::max(ShareWithin(a, b), ShareWithin(b, a));
}

enum Side : std::size_t { kLeft, kTop, kRight, kBottom };

using Sides = std::array<bool, 4>;

// In the order in which boxes are taken.
enum class Rank { kFull, kSmall, kPiece };

struct Box {
  Detection detection;
  std::size_t part;  // where it was found; of joined pieces a number of its own
  cv::Rect tile;     // what that shows; of joined pieces, what is around their tiles
  Rank rank;
  Sides cut;
};

// The sides on which the box ends within `share` of the tile's side from a border that is not the
// whole's.
Sides SidesNear(const Edges& box, const cv::Rect& tile, const cv::Rect& whole, double share) {
  const Edges border = EdgesOf(tile);
  const float x = std::max(kLeastMargin, static_cast<float>(share * tile.width));
  const float y = std::max(kLeastMargin, static_cast<float>(share * tile.height));
  Sides near{};
  near[kLeft] = tile.x > whole.x && box.x1 <= border.x1 + x;
  near[kTop] = tile.y > whole.y && box.y1 <= border.y1 + y;
  near[kRight] = tile.br().x < whole.br().x && box.x2 >= border.x2 - x;
  near[kBottom] = tile.br().y < whole.br().y && box.y2 >= border.y2 - y;
  return near;
}

bool Any(const Sides& sides) {
  return std::ranges::find(sides, true) != sides.end();
}

Box MakeBox(Detection detection, std::size_t part, const cv::Rect& tile, const cv::Rect& whole,
            cv::Size smallest_tile) {
  const Edges edges = EdgesOf(detection);
  Rank rank = Rank::kFull;
  if (part == 0 && static_cast<double>(edges.x2 - edges.x1) <= kSmallShare * smallest_tile.width &&
      static_cast<double>(edges.y2 - edges.y1) <= kSmallShare * smallest_tile.height) {
    rank = Rank::kSmall;
  } else if (Any(SidesNear(edges, tile, whole, kNear))) {
    rank = Rank::kPiece;
  }
  return {std::move(detection), part, tile, rank, SidesNear(edges, tile, whole, kCut)};
}

class Merge {
 public:
  explicit Merge(const MergeOptions& options) : options_(options) {}

  Detections Run(std::vector<Box> boxes) {
    std::ranges::stable_sort(
        boxes, {}, [](const Box& box) { return std::pair(box.rank, -box.detection.confidence); });
    std::vector<Box> pieces;
    for (Box& box : boxes) {
      if (IsKnown(box)) {
        continue;
      }
      (box.rank == Rank::kPiece ? pieces : kept_).push_back(std::move(box));
    }
    Join(pieces);
    std::ranges::stable_sort(pieces, {}, [](const Box& box) {
      const Edges edges = EdgesOf(box.detection);
      return std::pair(Any(box.cut), -Area(edges));
    });
    for (Box& piece : pieces) {
      if (!IsKnown(piece)) {
        kept_.push_back(std::move(piece));
      }
    }
    Detections merged;
    merged.reserve(kept_.size());
    for (Box& box : kept_) {
      merged.push_back(std::move(box.detection));
    }
    std::ranges::stable_sort(merged, std::greater(), &Detection::confidence);
    merged.resize(std::min(merged.size(), options_.max_detections));
    return merged;
  }

 private:
  bool MayBeSame(const Box& a, const Box& b) const {
    return options_.class_agnostic || a.detection.class_id == b.detection.class_id;
  }

  // Whether `box` is of an object of which `kept` is a better box.
  bool IsOf(const Box& box, const Box& kept) const {
    if (box.part == kept.part) {
      return false;
    }
    const Edges edges = EdgesOf(box.detection);
    const Edges better = EdgesOf(kept.detection);
    if (!MayBeSame(box, kept)) {
      return box.rank == Rank::kPiece && kept.rank != Rank::kPiece &&
             IntersectionOverUnion(edges, Common(better, EdgesOf(box.tile))) > kWithin;
    }
    switch (box.rank) {
      case Rank::kFull:
        break;
      case Rank::kSmall:
        if (OverSmaller(edges, better) >= kWithin) {
          return true;
        }
        break;
      case Rank::kPiece: {
        if (kept.rank != Rank::kPiece && ShareWithin(edges, better) >= kWithin) {
          return true;
        }
        // Two pieces of one object are the same where both tiles show it.
        const Edges both = Common(EdgesOf(box.tile), EdgesOf(kept.tile));
        if (IntersectionOverUnion(Common(edges, both), Common(better, both)) > kWithin) {
          return true;
        }
        break;
      }
    }
    return IntersectionOverUnion(edges, better) > options_.iou;
  }

  bool IsKnown(const Box& box) const {
    return std::ranges::any_of(kept_, [&](const Box& kept) { return IsOf(box, kept); });
  }

  void Join(std::vector<Box>& pieces) const;

  const MergeOptions& options_;
  std::vector<Box> kept_;
};

// ---- Joining

// An interval.
struct Extent {
  float from;
  float to;
};

float IntersectionOverUnion(const Extent& a, const Extent& b) {
  const float common = std::min(a.to, b.to) - std::max(a.from, b.from);
  return common > 0 ? common / (std::max(a.to, b.to) - std::min(a.from, b.from)) : 0;
}

// Two boxes seen along one axis: the first one ends where the second one begins.
struct Seam {
  bool horizontal;  // the boxes are side by side
  float at;         // where one's share of the object ends
};

// Where `first` (left or above) and `second` are pieces of one object; nullopt: they are not.
std::optional<Seam> SeamBetween(const Box& first, const Box& second, bool horizontal) {
  const auto along = [horizontal](const Edges& of) {
    return horizontal ? Extent{of.x1, of.x2} : Extent{of.y1, of.y2};
  };
  const auto across = [horizontal](const Edges& of) {
    return horizontal ? Extent{of.y1, of.y2} : Extent{of.x1, of.x2};
  };
  if (!first.cut[horizontal ? kRight : kBottom] || !second.cut[horizontal ? kLeft : kTop]) {
    return std::nullopt;
  }
  const Edges a = EdgesOf(first.detection);
  const Edges b = EdgesOf(second.detection);
  const Extent tile = along(EdgesOf(second.tile));
  const float margin = 2 * std::max(kLeastMargin, static_cast<float>(kCut) * (tile.to - tile.from));
  const bool in_order = along(EdgesOf(first.tile)).from < tile.from &&
                        along(a).from <= along(b).from && along(a).to <= along(b).to;
  if (!in_order || along(b).from > along(a).to + margin ||
      IntersectionOverUnion(across(a), across(b)) < kAgree) {
    return std::nullopt;
  }
  return Seam{horizontal, (along(a).to + along(b).from) / 2};
}

// The part of a polygon before the seam, or behind it.
Polygon Clipped(const Polygon& polygon, const Seam& seam, bool before) {
  const auto beyond = [&](const Point& point) {
    const float at = seam.horizontal ? point.x : point.y;
    return before ? at - seam.at : seam.at - at;
  };
  Polygon clipped;
  for (std::size_t i = 0; i < polygon.size(); ++i) {
    const Point& from = polygon[i];
    const Point& to = polygon[(i + 1) % polygon.size()];
    const float out_from = beyond(from);
    const float out_to = beyond(to);
    if (out_from <= 0) {
      clipped.push_back(from);
    }
    if ((out_from <= 0) != (out_to <= 0)) {
      const float share = out_from / (out_from - out_to);
      clipped.push_back({from.x + share * (to.x - from.x), from.y + share * (to.y - from.y)});
    }
  }
  return clipped;
}

// Returns the smallest turned box around both, clockwise from the corner that is nearest to
// `first`.
std::vector<Point> CornersAround(const std::vector<Point>& a, const std::vector<Point>& b,
                                 const Point& first) {
  std::vector<cv::Point2f> points;
  for (const auto* corners : {&a, &b}) {
    for (const Point& corner : *corners) {
      points.emplace_back(corner.x, corner.y);
    }
  }
  std::array<cv::Point2f, 4> around;
  cv::minAreaRect(points).points(around.data());
  const auto distance = [&](const cv::Point2f& corner) {
    return std::hypot(corner.x - first.x, corner.y - first.y);
  };
  std::ranges::rotate(around, std::ranges::min_element(around, {}, distance));
  std::vector<Point> corners;
  for (const cv::Point2f& corner : around) {
    corners.push_back({corner.x, corner.y});
  }
  return corners;
}

Detection Joined(const Detection& first, const Detection& second, const Seam& seam) {
  const bool first_leads = first.confidence >= second.confidence;
  Detection joined = first_leads ? first : second;
  joined.x1 = std::min(first.x1, second.x1);
  joined.y1 = std::min(first.y1, second.y1);
  joined.x2 = std::max(first.x2, second.x2);
  joined.y2 = std::max(first.y2, second.y2);
  if (!first.corners.empty() && !second.corners.empty()) {
    joined.corners = CornersAround(first.corners, second.corners, first.corners.front());
  }
  const std::size_t keypoints = std::min(first.keypoints.size(), second.keypoints.size());
  for (std::size_t i = 0; i < keypoints; ++i) {
    const Keypoint& a = first.keypoints[i];
    const Keypoint& b = second.keypoints[i];
    joined.keypoints[i] = a.confidence >= b.confidence ? a : b;
  }
  joined.mask.clear();
  for (const bool before : {true, false}) {
    for (const Polygon& polygon : before ? first.mask : second.mask) {
      Polygon clipped = Clipped(polygon, seam, before);
      if (clipped.size() >= 3) {
        joined.mask.push_back(std::move(clipped));
      }
    }
  }
  return joined;
}

Box JoinedBox(const Box& first, const Box& second, const Seam& seam, std::size_t part) {
  Box joined{.detection = Joined(first.detection, second.detection, seam),
             .part = part,
             .tile = first.tile | second.tile,
             .rank = Rank::kPiece,
             .cut = {}};
  for (const Side side : {kLeft, kTop, kRight, kBottom}) {
    joined.cut[side] = first.cut[side] || second.cut[side];
  }
  joined.cut[seam.horizontal ? kRight : kBottom] = second.cut[seam.horizontal ? kRight : kBottom];
  joined.cut[seam.horizontal ? kLeft : kTop] = first.cut[seam.horizontal ? kLeft : kTop];
  return joined;
}

// Where the two are pieces of one object, and which of them is the first one; nullopt: they are
// not.
std::optional<std::pair<Seam, bool>> SeamOf(const Box& a, const Box& b) {
  for (const bool a_first : {true, false}) {
    for (const bool horizontal : {true, false}) {
      if (const auto seam = SeamBetween(a_first ? a : b, a_first ? b : a, horizontal)) {
        return std::pair(*seam, a_first);
      }
    }
  }
  return std::nullopt;
}

void Merge::Join(std::vector<Box>& pieces) const {
  std::size_t part = std::size_t{1} << 32;  // what is joined is of a part of its own
  const auto limit = [&pieces] { return std::min(pieces.size(), kMaxPieces); };
  for (std::size_t at = 0; at < limit(); ++at) {
    for (std::size_t other = 0; other < limit();) {
      const Box& a = pieces[at];
      const Box& b = pieces[other];
      const auto seam =
          other != at && a.part != b.part && MayBeSame(a, b) ? SeamOf(a, b) : std::nullopt;
      if (!seam) {
        ++other;
        continue;
      }
      pieces[at] = seam->second ? JoinedBox(a, b, seam->first, part++)
                                : JoinedBox(b, a, seam->first, part++);
      pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(other));
      at -= other < at ? 1 : 0;
      other = 0;  // it may meet others now
    }
  }
}

}  // namespace

Detections MergeTiles(std::vector<FoundInPart> parts, const MergeOptions& options) {
  if (parts.empty()) {
    return {};
  }
  const cv::Rect whole = parts.front().part;
  cv::Size smallest = whole.size();
  for (const FoundInPart& part : parts) {
    smallest = {std::min(smallest.width, part.part.width),
                std::min(smallest.height, part.part.height)};
  }
  std::vector<Box> boxes;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    for (Detection& detection : parts[i].found) {
      boxes.push_back(MakeBox(std::move(detection), i, parts[i].part, whole, smallest));
    }
  }
  if (boxes.size() > kMaxMerged) {
    std::ranges::stable_sort(boxes, std::greater(),
                             [](const Box& box) { return box.detection.confidence; });
    boxes.erase(boxes.begin() + static_cast<std::ptrdiff_t>(kMaxMerged), boxes.end());
  }
  return Merge(options).Run(std::move(boxes));
}

}  // namespace inferpool::vision
