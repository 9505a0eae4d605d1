//! How numbers stand in a log.

use super::LogError;

/// One direction of the format: both go through the same list of fields.
pub(super) trait Wire {
    /// The next byte.
    fn byte(&mut self, byte: &mut u8) -> Result<(), LogError>;
    /// How far the log goes up to here.
    fn offset(&self) -> u64;
    /// A number in LEB128.
    fn number(&mut self, number: &mut u64) -> Result<(), LogError>;

    fn hash(&mut self, hash: &mut u64) -> Result<(), LogError> {
        let mut bytes = hash.to_le_bytes();
        bytes.iter_mut().try_for_each(|byte| self.byte(byte))?;
        *hash = u64::from_le_bytes(bytes);
        Ok(())
    }

    fn flag(&mut self, flag: &mut bool) -> Result<(), LogError> {
        let mut byte = u8::from(*flag);
        self.byte(&mut byte)?;
        *flag = match byte {
            0 => false,
            1 => true,
            _ => return Err(LogError::Damaged(self.offset())),
        };
        Ok(())
    }
}
