//! AMD's processors: family, model and stepping, and the product that these are of. Attestation specification, section 2.1.

use std::fmt;

/// A generation of processors, with its own root key and TCB layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Product {
    /// Zen 3, and Milan-X.
    Milan,
    /// Zen 4: Genoa, Genoa-X, Bergamo, Siena.
    Genoa,
    /// Zen 5.
    Turin,
}

impl Product {
    /// All of them.
    pub const ALL: [Product; 3] = [Product::Milan, Product::Genoa, Product::Turin];

    /// The name, as AMD's certificates begin theirs.
    pub fn as_str(self) -> &'static str {
        match self {
            Product::Milan => "Milan",
            Product::Genoa => "Genoa",
            Product::Turin => "Turin",
        }
    }

    /// The product that a certificate names: `Milan-B0`, `Genoa`, `Turin`.
    pub fn named(text: &str) -> Option<Product> {
        Product::ALL.into_iter().find(|product| {
            text.strip_prefix(product.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which processor it is. Family and model are whole: base and extended parts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId {
    /// 0x19, 0x1a.
    pub family: u8,
    /// 0x01, 0x11.
    pub model: u8,
    /// 0 to 15.
    pub stepping: u8,
}

impl CpuId {
    /// The product; `None` for processors that are not known.
    pub fn product(self) -> Option<Product> {
        match (self.family, self.model) {
            (0x19, 0x00..=0x0f) => Some(Product::Milan),
            (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some(Product::Genoa),
            (0x1a, 0x00..=0x11) => Some(Product::Turin),
            _ => None,
        }
    }

    /// Leaf 1 EAX of the CPUID instruction as 8 hex digits: the key of TCB tables. Families below 15 have no such processors.
    pub fn to_hex(self) -> String {
        let (family, model, stepping) = (
            u32::from(self.family),
            u32::from(self.model),
            u32::from(self.stepping & 0x0f),
        );
        let eax = family.saturating_sub(0x0f) << 20 | (model >> 4) << 16 | 0x0f << 8 | (model & 0x0f) << 4 | stepping;
        format!("{eax:08x}")
    }

    /// From 8 hex digits of EAX, as keys of TCB tables have it. As in CCF, digits of either case are read, and bits that say
    /// nothing of the three are ignored: several keys mean one processor.
    pub fn from_hex(text: &str) -> Option<CpuId> {
        let mut bytes = [0; 4];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        let eax = u32::from_be_bytes(bytes);
        let field = |shift: u32, bits: u32| (eax >> shift) & ((1 << bits) - 1);
        Some(CpuId {
            family: u8::try_from(field(8, 4) + field(20, 8)).ok()?,
            model: u8::try_from(field(16, 4) << 4 | field(4, 4)).ok()?,
            stepping: u8::try_from(field(0, 4)).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_keys_of_tables_and_back() {
        for (family, model, stepping, key, product) in [
            (0x19, 0x01, 1, "00a00f11", Product::Milan),
            (0x19, 0x01, 2, "00a00f12", Product::Milan),
            (0x19, 0x11, 1, "00a10f11", Product::Genoa),
            (0x19, 0x11, 2, "00a10f12", Product::Genoa),
            (0x19, 0xa0, 2, "00aa0f02", Product::Genoa),
            (0x1a, 0x01, 1, "00b00f11", Product::Turin),
            (0x1a, 0x02, 1, "00b00f21", Product::Turin),
        ] {
            let cpu = CpuId {
                family,
                model,
                stepping,
            };
            assert_eq!(cpu.to_hex(), key);
            assert_eq!(CpuId::from_hex(key), Some(cpu));
            assert_eq!(cpu.product(), Some(product));
        }
        for text in ["", "00a00f1", "00a00f111", "zza00f11"] {
            assert_eq!(CpuId::from_hex(text), None, "{text}");
        }
    }

    #[test]
    fn other_processors_have_no_product() {
        for (family, model) in [
            (0, 0),
            (0x17, 1),
            (0x19, 0x20),
            (0x19, 0x9f),
            (0x19, 0xb0),
            (0x1a, 0x12),
            (6, 1),
        ] {
            let cpu = CpuId {
                family,
                model,
                stepping: 0,
            };
            assert_eq!(cpu.product(), None, "{family:#x} {model:#x}");
        }
    }

    #[test]
    fn certificates_name_products_with_or_without_a_revision() {
        assert_eq!(Product::named("Milan-B0"), Some(Product::Milan));
        assert_eq!(Product::named("Turin"), Some(Product::Turin));
        for text in ["", "Milano", "milan", "Venice", "-"] {
            assert_eq!(Product::named(text), None, "{text}");
        }
    }
}
