//! What a search looks for places in, the cells that cover it, and distances. Pure.
//!
//! Distances are the haversine's on a sphere of the Earth's mean radius.

use super::cell::{Cell, LATITUDE_MAX, Place};

const EARTH_RADIUS_M: f64 = 6_372_797.560_856;
/// A cell and its neighbours, as (east, north), in the order that they are searched.
const AROUND: [(i32, i32); 9] =
    [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];

const MERCATOR_MAX: f64 = 20_037_726.37;

// As the other servers write it, so that the last digit is the same.
fn radians(degrees: f64) -> f64 {
    degrees * (std::f64::consts::PI / 180.0)
}

fn degrees(radians: f64) -> f64 {
    radians / (std::f64::consts::PI / 180.0)
}

fn latitude_distance_m(a: f64, b: f64) -> f64 {
    EARTH_RADIUS_M * (radians(b) - radians(a)).abs()
}

/// Metres between two places.
pub fn distance_m(a: Place, b: Place) -> f64 {
    let v = ((radians(b.longitude) - radians(a.longitude)) / 2.0).sin();
    // On one meridian the arc is the difference of the latitudes.
    if v.abs() <= 1e-15 {
        return latitude_distance_m(a.latitude, b.latitude);
    }
    let (from, to) = (radians(a.latitude), radians(b.latitude));
    let u = ((to - from) / 2.0).sin();
    let a = u * u + from.cos() * to.cos() * v * v;
    2.0 * EARTH_RADIUS_M * a.sqrt().asin()
}

/// The form of a search. Lengths are in metres.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    Circle { radius_m: f64 },
    Box { width_m: f64, height_m: f64 },
    Polygon(Vec<Place>),
}

#[derive(Clone, Debug)]
pub struct Shape {
    pub centre: Place,
    pub form: Form,
}

/// South-west and north-east corner; degrees may lie beyond the world's end.
struct Corners {
    low: Place,
    high: Place,
}

impl Shape {
    /// A polygon around its middle.
    pub fn polygon(corners: Vec<Place>) -> Self {
        let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
        for corner in &corners {
            let (longitude, latitude) = (radians(corner.longitude), radians(corner.latitude));
            x += latitude.cos() * longitude.cos();
            y += latitude.cos() * longitude.sin();
            z += latitude.sin();
        }
        let centre = Place {
            longitude: degrees(f64::atan2(y, x)),
            latitude: degrees(f64::atan2(z, (x * x + y * y).sqrt())),
        };
        Self { centre, form: Form::Polygon(corners) }
    }

    /// The distance from the centre in metres of a place within the shape.
    pub fn holds(&self, place: Place) -> Option<f64> {
        let inside = match &self.form {
            Form::Circle { radius_m } => {
                let distance = distance_m(self.centre, place);
                return (distance <= *radius_m).then_some(distance);
            }
            Form::Box { width_m, height_m } => {
                let level = Place { longitude: self.centre.longitude, ..place };
                latitude_distance_m(place.latitude, self.centre.latitude) <= height_m / 2.0
                    && distance_m(place, level) <= width_m / 2.0
            }
            Form::Polygon(corners) => crosses_odd(corners, place),
        };
        inside.then(|| distance_m(self.centre, place))
    }

    fn corners(&self) -> Corners {
        let (width_m, height_m) = match &self.form {
            Form::Circle { radius_m } => (*radius_m, *radius_m),
            Form::Box { width_m, height_m } => (width_m / 2.0, height_m / 2.0),
            Form::Polygon(corners) => {
                let bound = |pick: fn(f64, f64) -> f64, start: f64| Place {
                    longitude: corners.iter().map(|at| at.longitude).fold(start, pick),
                    latitude: corners.iter().map(|at| at.latitude).fold(start, pick),
                };
                let (low, high) = (bound(f64::min, 180.0), bound(f64::max, -180.0));
                return Corners { low, high };
            }
        };
        let Place { longitude, latitude } = self.centre;
        let up = degrees(height_m / EARTH_RADIUS_M);
        // Meridians come together towards the poles: the far edge is the wider one in degrees.
        let edge = if latitude < 0.0 { latitude - up } else { latitude + up };
        let aside = degrees(width_m / EARTH_RADIUS_M / radians(edge).cos());
        Corners {
            low: Place { longitude: longitude - aside, latitude: latitude - up },
            high: Place { longitude: longitude + aside, latitude: latitude + up },
        }
    }

    /// From the centre to the farthest point, in metres.
    fn reach_m(&self, corners: &Corners) -> f64 {
        match &self.form {
            Form::Circle { radius_m } => *radius_m,
            Form::Box { width_m, height_m } => {
                ((width_m / 2.0) * (width_m / 2.0) + (height_m / 2.0) * (height_m / 2.0)).sqrt()
            }
            Form::Polygon(_) => {
                let Corners { low, high } = corners;
                let (west, east) = (low.longitude, high.longitude);
                let all = [(west, high), (east, high), (west, low), (east, low)];
                let far = all.map(|(longitude, at)| {
                    distance_m(self.centre, Place { longitude, latitude: at.latitude })
                });
                far.into_iter().fold(0.0, f64::max)
            }
        }
    }

    /// The cells, nine at most, that together cover the shape, each once in a row.
    pub fn cells(&self) -> Vec<Cell> {
        let corners = self.corners();
        let mut steps = steps_for(self.reach_m(&corners), self.centre.latitude);
        let Corners { low, high } = corners;
        // The middle of a polygon around a pole is beyond the last cell.
        let latitude = self.centre.latitude.clamp(-LATITUDE_MAX, LATITUDE_MAX);
        let centre = Place { latitude, ..self.centre };
        let mut cell = Cell::around(centre, steps);
        // Near a cell's edge its neighbours may end before the shape does.
        let ends_early = cell.neighbour(0, 1).area().latitude.1 < high.latitude
            || cell.neighbour(0, -1).area().latitude.0 > low.latitude
            || cell.neighbour(1, 0).area().longitude.1 < high.longitude
            || cell.neighbour(-1, 0).area().longitude.0 > low.longitude;
        if steps > 1 && ends_early {
            steps -= 1;
            cell = Cell::around(centre, steps);
        }
        let area = cell.area();
        let useful = |east: i32, north: i32| {
            steps < 2
                || !(north < 0 && area.latitude.0 < low.latitude
                    || north > 0 && area.latitude.1 > high.latitude
                    || east < 0 && area.longitude.0 < low.longitude
                    || east > 0 && area.longitude.1 > high.longitude)
        };
        let mut cells: Vec<Cell> = Vec::with_capacity(9);
        for (east, north) in AROUND {
            let next = cell.neighbour(east, north);
            // In a world of few cells neighbours are the same; the very first is compared with none.
            let again = cells.len() > 1 && cells.last() == Some(&next);
            if useful(east, north) && !again {
                cells.push(next);
            }
        }
        cells
    }
}

/// How often the world is halved for cells not smaller than this reach.
fn steps_for(mut reach_m: f64, latitude: f64) -> u32 {
    if reach_m == 0.0 {
        return 26;
    }
    let mut steps = 1i32;
    while reach_m < MERCATOR_MAX {
        reach_m *= 2.0;
        steps += 1;
    }
    steps -= 2;
    if latitude.abs() > 66.0 {
        steps -= if latitude.abs() > 80.0 { 2 } else { 1 };
    }
    steps.clamp(1, 26) as u32
}

/// Whether a ray from the place to the west crosses the polygon's sides an odd number of times.
fn crosses_odd(corners: &[Place], place: Place) -> bool {
    let before = corners.iter().cycle().skip(corners.len() - 1);
    corners.iter().zip(before).fold(false, |inside, (a, b)| {
        let between = (a.latitude > place.latitude) != (b.latitude > place.latitude);
        let crosses = between
            && place.longitude
                < (b.longitude - a.longitude) * (place.latitude - a.latitude)
                    / (b.latitude - a.latitude)
                    + a.longitude;
        inside != crosses
    })
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use super::*;

    fn place(longitude: f64, latitude: f64) -> Place {
        Place { longitude, latitude }
    }

    /// Whatever lies within a shape lies within one of its cells, too.
    #[test]
    fn cells_cover_their_shape() {
        let mut state = 11u64;
        let mut draw = |most: f64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0) * most
        };
        for round in 0..3000 {
            let centre = place(draw(179.0), draw(70.0));
            let radius_m = 10f64.powf(1.0 + f64::from(round % 5));
            let form = if round % 2 == 0 {
                Form::Circle { radius_m }
            } else {
                Form::Box { width_m: radius_m, height_m: radius_m / 2.0 }
            };
            let shape = Shape { centre, form };
            let cells = shape.cells();
            let near = radius_m / 111_000.0;
            let point = place(centre.longitude + draw(near), centre.latitude + draw(near));
            if point.is_valid() && shape.holds(point).is_some() {
                let score = point.score();
                let covered = cells.iter().any(|cell| {
                    let (from, to) = cell.scores();
                    (from..to).contains(&score)
                });
                assert!(covered, "{shape:?} {point:?}");
            }
        }
    }

    #[test]
    fn distances() {
        let palermo = place(13.361_389, 38.115_556);
        let catania = place(15.087_269, 37.502_669);
        assert!((distance_m(palermo, catania) - 166_274.15).abs() < 1.0);
        assert_eq!(distance_m(palermo, palermo), 0.0);
        let square = vec![place(0.0, 0.0), place(2.0, 0.0), place(2.0, 2.0), place(0.0, 2.0)];
        assert!(Shape::polygon(square.clone()).holds(place(1.0, 1.0)).is_some());
        assert!(Shape::polygon(square).holds(place(3.0, 1.0)).is_none());
    }

    /// A radius without end, or none, must not make the search of cells endless.
    #[test]
    fn extreme_reaches_end() {
        for radius_m in [0.0, f64::MIN_POSITIVE, 1e-300, 1e308, f64::INFINITY] {
            for latitude in [0.0, 85.0, -85.0] {
                let shape =
                    Shape { centre: place(10.0, latitude), form: Form::Circle { radius_m } };
                assert!(!shape.cells().is_empty());
            }
        }
    }
}
