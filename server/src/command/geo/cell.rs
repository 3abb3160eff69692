//! Places as cells: the world halved again and again, by latitude and longitude in turn, until 52
//! bits are left, which a sorted set's score holds exactly. Pure.

pub const LONGITUDE_MAX: f64 = 180.0;
/// Beyond it the projection has no end.
pub const LATITUDE_MAX: f64 = 85.051_128_78;
/// Halvings of each axis in a score.
pub const STEPS_MAX: u32 = 26;

/// Longitude and latitude in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    pub longitude: f64,
    pub latitude: f64,
}

impl Place {
    pub fn is_valid(self) -> bool {
        self.longitude.abs() <= LONGITUDE_MAX && self.latitude.abs() <= LATITUDE_MAX
    }

    /// The place that a score stands for, which is its smallest cell's middle.
    pub fn of_score(score: f64) -> Self {
        let area = Cell { bits: Self::bits(score), steps: STEPS_MAX }.area();
        let middle =
            |(low, high): (f64, f64), most: f64| f64::midpoint(low, high).clamp(-most, most);
        Self {
            longitude: middle(area.longitude, LONGITUDE_MAX),
            latitude: middle(area.latitude, LATITUDE_MAX),
        }
    }

    /// Scores below zero or beyond 64 bits are no places; they wrap as they do elsewhere.
    fn bits(score: f64) -> u64 {
        const BEYOND: f64 = u64::MAX as f64;
        match score {
            ..0.0 => score as i64 as u64,
            BEYOND.. => 0,
            _ => score as u64,
        }
    }

    /// The score of its smallest cell.
    pub fn score(self) -> f64 {
        Cell::around(self, STEPS_MAX).bits as f64
    }
}

/// A cell: the latitude's bits at even places, the longitude's at odd ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub bits: u64,
    pub steps: u32,
}

/// What a cell covers, in degrees: from, to.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    pub longitude: (f64, f64),
    pub latitude: (f64, f64),
}

const EVEN: u64 = 0x5555_5555_5555_5555;

/// Puts a bit of zero before every bit.
fn spread(number: u32) -> u64 {
    let steps = [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, EVEN),
    ];
    steps.iter().fold(number.into(), |bits: u64, (shift, mask)| (bits | bits << shift) & mask)
}

/// The opposite of [`spread`]; bits at odd places are dropped.
fn gather(bits: u64) -> u32 {
    let steps = [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ];
    steps.iter().fold(bits & EVEN, |bits, (shift, mask)| (bits | bits >> shift) & mask) as u32
}

impl Cell {
    /// The cell of this many steps that a valid place lies in.
    pub fn around(place: Place, steps: u32) -> Self {
        Self::within(place, steps, LATITUDE_MAX)
    }

    /// As [`Self::around`], in a world that ends at another latitude.
    fn within(place: Place, steps: u32, latitude_max: f64) -> Self {
        let scale = (1u64 << steps) as f64;
        let part = |at: f64, most: f64| ((at + most) / (most + most) * scale) as u32;
        let latitude = part(place.latitude, latitude_max);
        let longitude = part(place.longitude, LONGITUDE_MAX);
        Self { bits: spread(latitude) | spread(longitude) << 1, steps }
    }

    pub fn area(self) -> Area {
        let scale = (1u64 << self.steps) as f64;
        let range = |part: u32, most: f64| {
            let at = |part: f64| -most + part / scale * (most + most);
            (at(part.into()), at(part.wrapping_add(1).into()))
        };
        Area {
            longitude: range(gather(self.bits >> 1), LONGITUDE_MAX),
            latitude: range(gather(self.bits), LATITUDE_MAX),
        }
    }

    /// The neighbour so many cells to the east and to the north; round the world at its end.
    pub fn neighbour(self, east: i32, north: i32) -> Self {
        let mask = u32::MAX >> (32 - self.steps);
        // At the world's very end a place lies one beyond the last cell; it stays there unless moved.
        let moved = |part: u32, by: i32| match by {
            0 => part,
            _ => part.wrapping_add_signed(by) & mask,
        };
        let longitude = moved(gather(self.bits >> 1), east);
        let latitude = moved(gather(self.bits), north);
        Self { bits: spread(latitude) | spread(longitude) << 1, steps: self.steps }
    }

    /// The scores within: from the first to before the last.
    pub fn scores(self) -> (f64, f64) {
        let shift = (STEPS_MAX - self.steps) * 2;
        ((self.bits << shift) as f64, ((self.bits + 1) << shift) as f64)
    }

    /// The eleven letters by which the rest of the world knows a place; their world ends at the
    /// poles. The last one would need bits that are not there.
    pub fn letters(place: Place) -> [u8; 11] {
        const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Self::within(place, STEPS_MAX, 90.0).bits;
        std::array::from_fn(|index| match index {
            10 => LETTERS[0],
            _ => LETTERS[(bits >> (52 - (index + 1) * 5)) as usize & 0x1f],
        })
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use super::*;

    #[test]
    fn places_survive_their_score() {
        let check = |longitude, latitude, score: f64, letters: &str| {
            let place = Place { longitude, latitude };
            assert_eq!(place.score(), score, "{place:?}");
            let back = Place::of_score(score);
            assert!((back.longitude - longitude).abs() < 1e-5, "{back:?}");
            assert!((back.latitude - latitude).abs() < 1e-5, "{back:?}");
            assert_eq!(Cell::letters(back), letters.as_bytes(), "{place:?}");
        };
        check(13.361_389, 38.115_556, 3_479_099_956_230_698.0, "sqc8b49rny0");
        check(15.087_269, 37.502_669, 3_479_447_370_796_909.0, "sqdtr74hyu0");
    }

    #[test]
    fn neighbours_go_round() {
        let cell = Cell::around(Place { longitude: -179.9, latitude: 0.1 }, 4);
        assert_eq!(cell.neighbour(1, 1).neighbour(-1, -1), cell);
        let west = cell.neighbour(-1, 0).area();
        assert_eq!(west.longitude.1, 180.0);
        for number in [0, 1, 0xdead_beef, u32::MAX] {
            assert_eq!(gather(spread(number)), number);
        }
    }

    /// A score beyond 64 bits was the last place, where peers have the first.
    #[test]
    fn scores_wrap() {
        let check = |score: f64, bits: u64| assert_eq!(Place::bits(score), bits, "{score}");
        check(0.0, 0);
        check(-1.0, u64::MAX);
        check(-1e300, 1 << 63);
        check(9_223_372_036_854_775_808.0, 1 << 63);
        check(18_446_744_073_709_551_616.0, 0);
        check(1e20, 0);
        check(f64::INFINITY, 0);
    }

    /// Scores that never were places (ZADD takes any) decode to something within the world.
    #[test]
    fn any_score_is_some_place() {
        for score in [-1.0, -1e300, 1e300, f64::INFINITY, f64::NEG_INFINITY, 0.5, 9e15] {
            assert!(Place::of_score(score).is_valid(), "{score}");
        }
    }
}
