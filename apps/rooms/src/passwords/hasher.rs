//! Argon2id, with memory that is allocated once: freed and allocated for each hash, it would take up to 20 times as much.

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{Error, Output, ParamsString, PasswordHash, Result, SaltString},
};

use crate::ids;

/// Hashes on one thread, with the recommended parameters.
pub(super) struct Hasher {
    blocks: Vec<Block>,
}

impl Hasher {
    pub(super) fn new() -> Self {
        Self { blocks: vec![Block::new(); Params::DEFAULT.block_count()] }
    }

    /// The hash of a password, with its parameters and a salt.
    pub(super) fn hash(&mut self, password: &str) -> Result<String> {
        let (algorithm, version, params) = (Algorithm::default(), Version::default(), Params::default());
        let salt = ids::random::<16>();
        let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
        let argon2 = Argon2::new(algorithm, version, params.clone());
        argon2.hash_password_into_with_memory(password.as_bytes(), &salt, &mut output, &mut self.blocks)?;
        let salt = SaltString::encode_b64(&salt)?;
        let hash = PasswordHash {
            algorithm: algorithm.into(),
            version: Some(version.into()),
            params: ParamsString::try_from(&params)?,
            salt: Some(salt.as_salt()),
            hash: Some(Output::new(&output)?),
        };
        Ok(hash.to_string())
    }

    /// Whether a password has this hash, whatever its parameters. The outputs are compared in constant time.
    pub(super) fn verify(&mut self, password: &str, hash: &str) -> Result<bool> {
        let hash = PasswordHash::new(hash)?;
        let params = Params::try_from(&hash)?;
        let blocks = params.block_count();
        if self.blocks.len() < blocks {
            self.blocks.resize(blocks, Block::new());
        }
        let version = hash.version.map_or(Ok(Version::default()), Version::try_from)?;
        let argon2 = Argon2::new(Algorithm::try_from(hash.algorithm)?, version, params);
        let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else { return Err(Error::PhcStringField) };
        let (mut bytes, mut output) = ([0; 64], [0; Output::MAX_LENGTH]);
        let (salt, output) = (salt.decode_b64(&mut bytes)?, &mut output[..expected.len()]);
        argon2.hash_password_into_with_memory(password.as_bytes(), salt, output, &mut self.blocks)?;
        Ok(Output::new(output)? == expected)
    }
}

#[cfg(test)]
mod tests {
    use argon2::{PasswordHasher, PasswordVerifier};

    use super::*;

    #[test]
    fn hashes_are_those_that_other_programs_make_and_read() {
        let mut hasher = Hasher::new();
        let hash = hasher.hash("hinotori").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let parsed = PasswordHash::new(&hash).unwrap();
        Argon2::default().verify_password(b"hinotori", &parsed).unwrap();
        assert!(hasher.verify("hinotori", &hash).unwrap() && !hasher.verify("Hinotori", &hash).unwrap());
        assert_ne!(hasher.hash("hinotori").unwrap(), hash, "each has a salt of its own");

        // of a time with other parameters
        let params = Params::new(20 * 1024, 1, 2, Some(24)).unwrap();
        let other = Argon2::new(Algorithm::Argon2i, Version::V0x10, params);
        let salt = SaltString::encode_b64(&[7; 16]).unwrap();
        let hash = other.hash_password(b"hinotori", &salt).unwrap().to_string();
        assert!(hasher.verify("hinotori", &hash).unwrap() && !hasher.verify("", &hash).unwrap());
        assert!(hasher.verify("hinotori", "no hash").is_err());
    }
}
