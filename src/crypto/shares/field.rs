//! Lagrange interpolation in the two fields of the share formats.
//!
//! No division by zero can happen as long as no two points have the same index, which callers check. No
//! branch and no table index depends on a secret value: `y` and coefficients are only added and multiplied.

/// A field that shares live in.
pub(super) trait Field {
    /// A number; any value of it is accepted and reduced.
    type Element: Copy + Default;
    /// 1.
    const ONE: Self::Element;
    /// The canonical representative.
    fn reduce(a: Self::Element) -> Self::Element;
    /// a + b.
    fn add(a: Self::Element, b: Self::Element) -> Self::Element;
    /// a − b.
    fn subtract(a: Self::Element, b: Self::Element) -> Self::Element;
    /// a · b.
    fn multiply(a: Self::Element, b: Self::Element) -> Self::Element;
    /// 1 / a; 0 for 0.
    fn invert(a: Self::Element) -> Self::Element;
}

/// The values at `x` of the `N` polynomials of least degree through `points`.
pub(super) fn interpolate<F: Field, const N: usize>(
    points: &[(F::Element, &[F::Element; N])],
    x: F::Element,
) -> [F::Element; N] {
    let mut result = [F::Element::default(); N];
    for (i, (x_i, y_i)) in points.iter().enumerate() {
        let (mut numerator, mut denominator) = (F::ONE, F::ONE);
        for (j, (x_j, _)) in points.iter().enumerate() {
            if i != j {
                numerator = F::multiply(numerator, F::subtract(x, *x_j));
                denominator = F::multiply(denominator, F::subtract(*x_i, *x_j));
            }
        }
        let weight = F::multiply(numerator, F::invert(denominator));
        for (value, y) in result.iter_mut().zip(y_i.iter()) {
            *value = F::add(*value, F::multiply(weight, *y));
        }
    }
    result.map(F::reduce)
}

/// Integers modulo 2^31 − 1 (recovery specification, section 5.3).
pub(super) struct MersenneField;

impl MersenneField {
    /// 2^31 − 1.
    pub(super) const PRIME: u32 = (1 << 31) - 1;

    /// Reduces any u32.
    pub(super) fn reduce(a: u32) -> u32 {
        a % Self::PRIME
    }

    /// a · b + c.
    pub(super) fn multiply_add(a: u32, b: u32, c: u32) -> u32 {
        <Self as Field>::add(<Self as Field>::multiply(a, b), c)
    }
}

// `%` by a constant compiles to a multiplication, and every remainder is below 2^31.
impl Field for MersenneField {
    type Element = u32;
    const ONE: u32 = 1;

    fn reduce(a: u32) -> u32 {
        Self::reduce(a)
    }

    fn add(a: u32, b: u32) -> u32 {
        ((u64::from(a) + u64::from(b)) % u64::from(Self::PRIME)) as u32
    }

    fn subtract(a: u32, b: u32) -> u32 {
        Self::add(a, Self::PRIME - Self::reduce(b))
    }

    fn multiply(a: u32, b: u32) -> u32 {
        (u64::from(a) * u64::from(b) % u64::from(Self::PRIME)) as u32
    }

    fn invert(a: u32) -> u32 {
        // Fermat: a^(p − 2), and p − 2 = 2^31 − 3 is 29 ones, a zero and a one in binary.
        let mut result = 1;
        for bit in (0..31).rev() {
            result = Self::multiply(result, result);
            if (Self::PRIME - 2) >> bit & 1 == 1 {
                result = Self::multiply(result, a);
            }
        }
        result
    }
}

/// GF(2^8) with x^8 + x^4 + x^3 + x + 1 (recovery specification, section 5.4).
pub(super) struct GaloisField;

impl Field for GaloisField {
    type Element = u8;
    const ONE: u8 = 1;

    fn reduce(a: u8) -> u8 {
        a
    }

    fn add(a: u8, b: u8) -> u8 {
        a ^ b
    }

    fn subtract(a: u8, b: u8) -> u8 {
        a ^ b
    }

    fn multiply(mut a: u8, b: u8) -> u8 {
        let mut product = 0;
        for bit in 0..8 {
            // 0xff or 0x00, so that both cases take the same time.
            product ^= a & (b >> bit & 1).wrapping_neg();
            a = (a << 1) ^ (0x1b & (a >> 7).wrapping_neg());
        }
        product
    }

    fn invert(a: u8) -> u8 {
        // a^254: 254 is seven ones and a zero in binary.
        let mut result = 1;
        for bit in (0..8).rev() {
            result = Self::multiply(result, result);
            if 254 >> bit & 1 == 1 {
                result = Self::multiply(result, a);
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_inverse_in_the_galois_field_is_one() {
        assert!((1..=255).all(|a| GaloisField::multiply(a, GaloisField::invert(a)) == 1));
        // The worked example of FIPS 197, section 4.2.
        assert_eq!(GaloisField::multiply(0x57, 0x83), 0xc1);
    }

    #[test]
    fn inverses_modulo_the_prime_are_ones() {
        for a in [1, 2, 3, 65_537, 1_234_567_890, MersenneField::PRIME - 1] {
            assert_eq!(MersenneField::multiply(a, MersenneField::invert(a)), 1);
            assert_eq!(MersenneField::subtract(a, a), 0);
        }
        assert_eq!(MersenneField::subtract(1, u32::MAX), 0); // u32::MAX = 2p + 1
    }

    #[test]
    fn interpolation_finds_a_known_parabola() {
        // 5 + 3x + 2x²
        let points = [(1, &[10u32]), (2, &[19]), (4, &[49])];
        assert_eq!(interpolate::<MersenneField, 1>(&points, 0), [5]);
        assert_eq!(interpolate::<MersenneField, 1>(&points, 3), [32]);
        assert_eq!(interpolate::<MersenneField, 1>(&points, 4), [49]);
    }
}
